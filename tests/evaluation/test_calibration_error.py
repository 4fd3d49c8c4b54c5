"""Adaptive and class-wise calibration errors: the definition, torchmetrics, streaming."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import adaptive_calibration_error, classwise_calibration_error
from meddistill.evaluation.calibration_error import ClasswiseBins, adaptive_error_of
from meddistill.evaluation.fine_histogram import FineHistogram
from tests.evaluation.answer_maps import random_logits, some_unknown

SHAPES = [(600, 4), (4, 3, 12, 10), (2, 3, 6, 5, 4)]


def of_equal_mass(probabilities: Tensor, labels: Tensor, num_bins: int) -> float:
    """The definition: sort by confidence, cut into equal parts, and add up their gaps."""
    confidence, prediction = probabilities.double().max(dim=1)
    known = labels != IGNORE_INDEX
    order = confidence[known].argsort()
    gaps = ((prediction == labels)[known].double() - confidence[known])[order]
    assert len(gaps) % num_bins == 0
    return float(gaps.view(num_bins, -1).sum(dim=1).abs().sum() / len(gaps))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.3, 2.0, 12.0])
def test_the_adaptive_error_agrees_with_the_definition(shape: tuple[int, ...], scale: float):
    logits, labels = random_logits(3, shape, scale)
    probabilities = logits.softmax(dim=1)
    found = adaptive_calibration_error(probabilities, labels)
    assert found == pytest.approx(of_equal_mass(probabilities, labels, 10), abs=5e-3)


def test_bins_of_equal_mass_see_what_equal_bins_do_not():
    """All confidences lie between 0.9 and 1, one bin of the plain error, where two gaps cancel."""
    confidence = torch.tensor([0.92, 0.98]).repeat_interleave(100)
    correct = torch.arange(200) % 100 < torch.tensor([98, 92]).repeat_interleave(100)
    probabilities = torch.stack([confidence, 1 - confidence], dim=1)
    labels = (~correct).long()
    assert adaptive_calibration_error(probabilities, labels, num_bins=1) == pytest.approx(0, abs=1e-6)
    assert adaptive_calibration_error(probabilities, labels, num_bins=2) == pytest.approx(0.06, abs=1e-6)


def test_a_cell_across_an_edge_is_shared_out():
    confidences = FineHistogram()
    confidences.update(torch.full((9,), 0.8), torch.arange(9) < 6)
    expected = abs(6 / 9 - 0.8)
    assert adaptive_error_of(confidences, num_bins=4) == pytest.approx(expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_the_classwise_error_is_the_mean_of_torchmetrics_binary_errors(shape, num_bins):
    logits, labels = some_unknown(random_logits(5, shape, 2.0))
    probabilities = logits.softmax(dim=1)
    of_classes = [
        binary_calibration_error(
            probabilities[:, k].flatten(),
            torch.where(labels == IGNORE_INDEX, IGNORE_INDEX, (labels == k).long()).flatten(),
            n_bins=num_bins,
            ignore_index=IGNORE_INDEX,
        )
        for k in range(shape[1])
    ]
    found = classwise_calibration_error(probabilities, labels, num_bins=num_bins)
    assert found == pytest.approx(float(torch.stack(of_classes).mean()), abs=1e-6)


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 11))
@settings(max_examples=15)
def test_batches_of_any_size_give_the_number_of_the_whole_set(seed: int, cut: int):
    logits, labels = some_unknown(random_logits(seed, (12, 3, 4, 4), 3.0))
    probabilities = logits.softmax(dim=1)
    confidence, prediction = probabilities.max(dim=1)
    confidences, classwise = FineHistogram(), ClasswiseBins(3)
    for part in (slice(0, cut), slice(cut, None)):
        known = labels[part] != IGNORE_INDEX
        confidences.update(confidence[part][known], (prediction == labels)[part][known])
        classwise.update(probabilities[part], labels[part])
    whole = adaptive_calibration_error(probabilities, labels)
    assert adaptive_error_of(confidences) == pytest.approx(whole, abs=1e-12)
    assert classwise.error() == pytest.approx(classwise_calibration_error(probabilities, labels), abs=1e-12)


@pytest.mark.parametrize("error", [adaptive_calibration_error, classwise_calibration_error])
def test_unknown_pixels_never_count_and_nothing_known_gives_nan(error):
    logits, labels = random_logits(0, (4, 3, 5, 6))
    probabilities = logits.softmax(dim=1)
    labels[1:] = IGNORE_INDEX
    assert error(probabilities, labels) == pytest.approx(error(probabilities[:1], labels[:1]), abs=1e-12)
    assert math.isnan(error(probabilities, torch.full_like(labels, IGNORE_INDEX)))


@pytest.mark.parametrize("error", [adaptive_calibration_error, classwise_calibration_error])
def test_what_is_no_probability_or_no_number_of_bins_is_refused(error):
    with pytest.raises(DataError, match="give probabilities"):
        error(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(DataError, match=r"\(2, 3, 4\).*\(3, 4\)"):
        error(torch.zeros(2, 3, 4), torch.zeros(3, 4, dtype=torch.long))
    with pytest.raises(ConfigError, match="num_bins"):
        error(torch.tensor([[0.5, 0.5]]), torch.tensor([0]), num_bins=0)
