"""Calibrators fitted on examples: the true temperatures come back, and nothing gets worse."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from meddistill.calibration import (
    CALIBRATORS,
    Kept,
    fit_calibrator,
    fit_class_temperature,
    fit_local_temperature,
)
from meddistill.calibration.examples import mean_nll
from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError
from tests.evaluation.answer_maps import random_logits


def labels_from(logits: Tensor, seed: int = 0) -> Tensor:
    """Labels (B, *S) drawn by the softmax of logits (B, K, *S)."""
    generator = torch.Generator().manual_seed(seed)
    pixels = logits.softmax(dim=1).movedim(1, -1)
    drawn = torch.multinomial(pixels.flatten(0, -2), 1, generator=generator)
    return drawn.view(pixels.shape[:-1])


def test_the_true_class_temperatures_come_back():
    honest, _ = random_logits(0, (30000, 3))
    true = torch.tensor([0.7, 1.0, 2.5])
    logits = honest.log_softmax(dim=1)
    labels = labels_from(logits / true)
    found = fit_class_temperature(
        lambda: [(logits[:10000], labels[:10000]), (logits[10000:], labels[10000:])]
    )
    torch.testing.assert_close(found.temperatures, true, rtol=0.06, atol=0)


def test_class_temperatures_do_what_one_temperature_cannot():
    honest, _ = random_logits(1, (8000, 3))
    labels = labels_from(honest.log_softmax(dim=1) / torch.tensor([0.4, 1.0, 3.0]))
    examples = lambda: [(honest, honest, labels)]  # noqa: E731
    one, each = (fit_calibrator(kind, examples) for kind in ("temperature", "class"))
    assert each.nll_before == one.nll_before
    assert each.nll_after < one.nll_after - 0.02


def bright_half(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose bright right half has logits three times too large."""
    honest, _ = random_logits(seed, (6, 2, 16, 16))
    image = torch.zeros(6, 1, 16, 16)
    image[..., 8:] = 1.0
    return image, honest * (1 + 2 * image), labels_from(honest, seed)


def test_local_temperatures_follow_the_image():
    image, logits, labels = bright_half()
    examples = lambda: zip(image.split(2), logits.split(2), labels.split(2), strict=True)  # noqa: E731
    local = fit_local_temperature(examples)
    found = local.map(logits, image)
    assert float(found[..., 10:].mean()) > 1.6 * float(found[..., :6].mean())
    one = fit_calibrator("temperature", examples)
    assert mean_nll(examples, local) < one.nll_after - 0.02
    again = fit_local_temperature(examples)
    torch.testing.assert_close(again.map(logits, image), found)


@pytest.mark.parametrize("kind", CALIBRATORS)
@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 50))
@settings(max_examples=4)
def test_nothing_is_worse_than_before_on_the_examples(kind: str, seed: int, scale: float):
    """Also for labels that have nothing to do with the logits."""
    logits, labels = random_logits(seed, (2, 3, 6, 6), scale)
    image = torch.rand(2, 1, 6, 6)
    fitted = fit_calibrator(kind, lambda: [(image, logits, labels)])
    assert fitted.nll_before == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert fitted.nll_after <= fitted.nll_before * (1 + 1e-6)
    assert json.loads(json.dumps(fitted.to_json()))["kind"] == kind


@pytest.mark.parametrize("kind", CALIBRATORS)
def test_unknown_pixels_never_count(kind: str):
    image, logits, labels = bright_half(3)
    hidden = labels.clone()
    hidden[3:] = IGNORE_INDEX
    other = logits.clone()
    other[3:] *= -5
    some, same = (
        fit_calibrator(kind, lambda z=z: [(image[:3], z[:3], hidden[:3]), (image[3:], z[3:], hidden[3:])])
        for z in (logits, other)
    )
    assert some.to_json() == same.to_json()


def test_labels_that_do_not_exclude_each_other_have_one_temperature():
    logits, _ = random_logits(4, (4000, 3), 1.5)
    labels = torch.bernoulli(logits.sigmoid(), generator=torch.Generator().manual_seed(0)).long()
    fitted = fit_calibrator("temperature", lambda: [(logits, 3 * logits, labels)])
    assert fitted.calibrator.describe()["temperature"] == pytest.approx(3, rel=0.05)
    expected = F.binary_cross_entropy_with_logits(3 * logits, labels.float())
    assert fitted.nll_before == pytest.approx(float(expected), rel=1e-5)


def test_what_does_not_fit_into_memory_is_computed_anew():
    passes = 0

    def examples():
        nonlocal passes
        passes += 1
        for _ in range(3):
            yield torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)

    for most, computed in ((60, 1), (59, 3)):
        passes = 0
        kept = Kept(examples, most=most)
        assert [len(list(kept())) for _ in range(3)] == [3, 3, 3]
        assert passes == computed
    half = Kept(examples)
    next(iter(half()))
    assert len(list(half())) == 3


def test_an_unknown_kind_and_nothing_known_are_refused():
    logits, labels = random_logits(0)
    with pytest.raises(ConfigError, match="unknown calibration 'temprature'; did you mean 'temperature'"):
        fit_calibrator("temprature", lambda: [(logits, logits, labels)])
    nothing = torch.full_like(labels, IGNORE_INDEX)
    for kind in CALIBRATORS:
        with pytest.raises(DataError, match="no labelled pixel"):
            fit_calibrator(kind, lambda: [(logits, logits, nothing)])
