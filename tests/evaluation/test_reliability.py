"""Reliability bins: hand-computed values, streaming, parity with the released P-CD code."""

import itertools
import json
import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.reliability import ReliabilityBins, expected_calibration_error

REFERENCE = Path(
    os.environ.get("MEDDISTILL_REFERENCE", Path(__file__).parents[2].parent / "shared" / "reference")
)


def random_case(seed: int, shape: tuple[int, ...] = (4, 3, 5, 6)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(shape, generator=generator).mul(2).softmax(dim=1)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return probabilities, labels


def loop_ece(probabilities: torch.Tensor, labels: torch.Tensor, num_bins: int) -> float:
    """The definition, pixel by pixel."""
    confidence, prediction = probabilities.double().max(dim=1)
    total, gap = 0, 0.0
    for k in range(num_bins):
        inside = (confidence > k / num_bins) & (confidence <= (k + 1) / num_bins) & (labels != IGNORE_INDEX)
        total += int(inside.sum())
        gap += abs(float((prediction == labels)[inside].sum()) - float(confidence[inside].sum()))
    return gap / total


@given(seed=st.integers(0, 10_000), num_bins=st.integers(1, 30))
@settings(max_examples=25)
def test_agrees_with_the_definition(seed: int, num_bins: int):
    probabilities, labels = random_case(seed)
    labels[:, 0] = IGNORE_INDEX
    result = expected_calibration_error(probabilities, labels, num_bins=num_bins)
    assert result == pytest.approx(loop_ece(probabilities, labels, num_bins), abs=1e-6)


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 12), max_size=3))
@settings(max_examples=25)
def test_batches_of_any_size_give_the_number_of_the_whole_set(seed: int, cuts: list[int]):
    probabilities, labels = random_case(seed, (12, 3, 4, 4))
    bins = ReliabilityBins()
    bounds = [0, *sorted(cuts), 12]
    for low, high in itertools.pairwise(bounds):
        bins.update(probabilities[low:high], labels[low:high])
    assert bins.ece() == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-12)
    assert bins.total == labels.numel()


def test_a_bin_holds_its_upper_edge():
    confidence = torch.tensor([0.5, 0.7, 0.70001, 1.0])
    bins = ReliabilityBins()
    bins.update_confidence(confidence, torch.ones(4, dtype=torch.bool))
    assert bins.counts.tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 0, 1]


def test_ignored_pixels_never_count():
    probabilities, labels = random_case(0)
    labels[1:] = IGNORE_INDEX
    assert expected_calibration_error(probabilities, labels) == expected_calibration_error(
        probabilities[:1], labels[:1]
    )


def test_no_labelled_pixel_gives_nan():
    probabilities, labels = random_case(0)
    assert math.isnan(expected_calibration_error(probabilities, torch.full_like(labels, IGNORE_INDEX)))


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 4, 4)])
def test_classification_and_volumes(shape: tuple[int, ...]):
    probabilities, labels = random_case(1, shape)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(
        loop_ece(probabilities, labels, 10), abs=1e-6
    )


def test_a_round_trip_keeps_the_error():
    bins = ReliabilityBins()
    bins.update(*random_case(3))
    again = ReliabilityBins.from_dict(json.loads(json.dumps(bins.to_dict())))
    assert again.ece() == pytest.approx(bins.ece(), abs=1e-12)
    assert again.counts.tolist() == bins.counts.tolist()


@pytest.mark.parametrize(
    "value", [{}, {"count": [1], "accuracy": [1.0, 1.0], "confidence": [1.0, 1.0]}, {"count": "x"}]
)
def test_other_dictionaries_are_refused(value: dict[str, object]):
    with pytest.raises(DataError, match="not reliability bins"):
        ReliabilityBins.from_dict(value)


def test_logits_are_refused():
    with pytest.raises(DataError, match="give probabilities"):
        expected_calibration_error(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(DataError, match="give probabilities"):
        expected_calibration_error(torch.tensor([[math.nan, math.nan]]), torch.tensor([0]))


def test_shapes_that_disagree_are_refused():
    with pytest.raises(DataError, match=r"\(2, 3, 4, 4\).*\(2, 4\)"):
        expected_calibration_error(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, dtype=torch.long))


@pytest.mark.parametrize("num_bins", [0, -1, True, 2.0])
def test_a_wrong_number_of_bins_is_refused(num_bins: int):
    with pytest.raises(ConfigError, match="num_bins"):
        ReliabilityBins(num_bins)


@pytest.mark.realdata
@pytest.mark.parametrize("index", range(4))
def test_parity_with_the_released_code(index: int):
    path = REFERENCE / "pcd_official.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    case = json.loads(path.read_text())[index]
    logits = torch.tensor(case["teacher_logits"]).reshape(case["shape"])
    expected = case["outputs"]
    bins = ReliabilityBins()
    bins.update((logits / case["confidence_temperature"]).softmax(dim=1), torch.tensor(case["labels"]))
    assert bins.ece() == pytest.approx(expected["ece_10bins_T2.51"], rel=1e-4)
    assert bins.counts.tolist() == expected["bin_count"]
    assert bins.accuracy.tolist() == pytest.approx(expected["bin_accuracy"], rel=1e-4)
    assert bins.confidence.tolist() == pytest.approx(expected["bin_confidence"], rel=1e-4)
