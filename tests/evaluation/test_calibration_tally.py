"""All measures of one pass over a set."""

import math

import pytest
import torch

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError
from meddistill.evaluation import (
    CalibrationTally,
    adaptive_calibration_error,
    brier_score,
    classwise_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
)
from meddistill.evaluation.calibration_tally import MEASURES
from tests.evaluation.answer_maps import random_logits, some_unknown


@pytest.mark.parametrize("shape", [(60, 4), (6, 3, 6, 5), (4, 2, 4, 5, 3)])
def test_every_measure_is_that_of_the_whole_set(shape: tuple[int, ...]):
    logits, labels = some_unknown(random_logits(4, shape))
    tally = CalibrationTally(shape[1])
    for part in (slice(0, 1), slice(1, None)):
        tally.update(logits[part], labels[part])
    found, probabilities = tally.to_json(), logits.softmax(dim=1)
    assert found["pixels"] == int((labels != IGNORE_INDEX).sum())
    for name, measure in {
        "ece": expected_calibration_error,
        "adaptive_ece": adaptive_calibration_error,
        "classwise_ece": classwise_calibration_error,
        "brier": brier_score,
        "nll": negative_log_likelihood,
    }.items():
        assert found[name] == pytest.approx(measure(probabilities, labels), rel=1e-5), name


def test_nothing_counted_is_nan():
    found = CalibrationTally(2).to_json()
    assert found["pixels"] == 0
    assert all(math.isnan(found[name]) for name in MEASURES)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="NaN or infinity"):
        CalibrationTally(2).update(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
