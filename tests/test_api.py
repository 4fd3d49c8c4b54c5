"""The public names, and the signatures that code outside relies on."""

from __future__ import annotations

import inspect
import json
import math
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest
import torch

import meddistill
from meddistill import evaluation, losses, methods, pacing

NAMES = json.loads(Path(__file__).with_name("public_names.json").read_text(encoding="utf-8"))


def packages() -> list[str]:
    """meddistill and every package in it."""
    inner = pkgutil.walk_packages(meddistill.__path__, "meddistill.")
    return ["meddistill", *(module.name for module in inner if module.ispkg)]


def test_the_public_names_are_the_listed_ones():
    """Adding or removing a name needs an edit of `public_names.json`, and a word in the changelog."""
    found = {name: sorted(getattr(import_module(name), "__all__", [])) for name in packages()}
    assert found == NAMES


@pytest.mark.parametrize("package", [name for name, names in NAMES.items() if names])
def test_every_public_name_can_be_had_and_is_documented(package):
    module = import_module(package)
    for name in NAMES[package]:
        value = getattr(module, name)
        assert not callable(value) or inspect.getdoc(value), f"{package}.{name}"


CONTRACT = [
    (
        losses.kl_divergence,
        lambda student_logits, teacher_logits, *, temperature=1.0, class_reduction="sum": ...,
    ),
    (losses.partial_cross_entropy, lambda logits, labels, *, ignore_index=-100: ...),
    (losses.prediction_entropy, lambda logits: ...),
    (losses.label_smoothing_map, lambda labels, num_classes, *, kernel_size=3, sigma=1.0: ...),
    (pacing.true_class_confidence, lambda logits, labels, *, temperature=1.0: ...),
    (pacing.threshold_for_fraction, lambda confidences, fraction: ...),
    (pacing.LinearPacing, lambda start, epochs, full_at, every: ...),
    (pacing.LinearPacing.threshold, lambda self, epoch: ...),
    (
        evaluation.dice_score,
        lambda prediction, label, *, num_classes, include_background=False, both_empty=math.nan: ...,
    ),
    (
        evaluation.iou_score,
        lambda prediction, label, *, num_classes, include_background=False, both_empty=math.nan: ...,
    ),
    (evaluation.hausdorff95, lambda prediction, label, *, num_classes, spacing=None: ...),
    (evaluation.expected_calibration_error, lambda probabilities, labels, *, num_bins=10: ...),
    (methods.create_method, lambda name, **options: ...),
    (methods.PacedDistillation, lambda *, mode="tpl_uncert", preset="paper": ...),
    (methods.Distillation, lambda *, temperature=4.5: ...),
    (methods.Supervised, lambda: ...),
    (methods.PseudoLabelTransfer, lambda *, target="soft", bce=1.0, dice=1.0, dynamic=None: ...),
    (meddistill.create_model, lambda name, in_channels=1, num_classes=2, dims=2, **options: ...),
    (meddistill.load_teacher, lambda source, **options: ...),
    (meddistill.fit, lambda recipe, run, *, resume=False: ...),
    (meddistill.evaluate, lambda run, *, split="test": ...),
    (meddistill.predict, lambda run, folder, output: ...),
]
"""What is promised. A signature may hold more arguments, if they are by keyword and have defaults."""


@pytest.mark.parametrize(
    ("function", "promised"), [pytest.param(*pair, id=pair[0].__qualname__) for pair in CONTRACT]
)
def test_the_contract_is_kept(function, promised):
    found = inspect.signature(function).parameters
    wanted = inspect.signature(promised).parameters
    assert list(found)[: len(positional(wanted))] == positional(wanted)
    assert {name: plain(found.get(name)) for name in wanted} == {n: plain(p) for n, p in wanted.items()}
    for name in found.keys() - wanted.keys():
        assert found[name].kind is inspect.Parameter.KEYWORD_ONLY, name
        assert found[name].default is not inspect.Parameter.empty, name


def positional(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    return [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]


def plain(parameter: inspect.Parameter | None) -> tuple[str, str] | None:
    """Kind and default as text, so that NaN equals NaN."""
    return None if parameter is None else (parameter.kind.name, repr(parameter.default))


@pytest.mark.parametrize("preset", ["paper", "reference"])
@pytest.mark.parametrize("mode", ["tpl", "tpl_uncert", "cpl", "cpl_tpl"])
def test_the_modes_and_presets_of_the_contract_exist(mode, preset):
    assert methods.PacedDistillation(mode=mode, preset=preset).needs_teacher


def test_a_streaming_calibration_error_equals_the_whole():
    """The contract's streaming class: batch by batch, the same number."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(4, 3, 8, 8, generator=generator).softmax(1)
    labels = torch.randint(0, 3, (4, 8, 8), generator=generator)
    bins = evaluation.ReliabilityBins()
    for image, label in zip(probabilities.split(1), labels.split(1), strict=True):
        bins.update(image, label)
    whole = evaluation.expected_calibration_error(probabilities, labels)
    assert bins.ece() == pytest.approx(whole)
