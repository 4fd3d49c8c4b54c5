"""Entropy and disagreement of mixed answers, and the uncertainty of a case."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import DataError
from meddistill.evaluation.uncertainty import Mixture, case_uncertainty
from meddistill.losses import prediction_entropy
from tests.evaluation.answer_maps import random_logits


@given(seed=st.integers(0, 10_000), answers=st.integers(1, 5), scale=st.floats(0.01, 30))
@settings(max_examples=25)
def test_entropy_is_mean_entropy_and_disagreement(seed: int, answers: int, scale: float):
    mixture, means = Mixture(), torch.zeros(2, 4, 3)
    probabilities, divergences = [], []
    for number in range(answers):
        logits, _ = random_logits(seed + number, (2, 3, 4, 3), scale)
        mixture.add(logits)
        means += prediction_entropy(logits) / answers / math.log(3)
        probabilities.append(logits.softmax(1))
    mean = torch.stack(probabilities).mean(0)
    divergences = [
        (p * (p.clamp_min(1e-38).log() - mean.clamp_min(1e-38).log())).sum(1) for p in probabilities
    ]
    torch.testing.assert_close(mixture.entropy(), mixture.disagreement() + means, atol=2e-6, rtol=1e-5)
    expected = torch.stack(divergences).mean(0) / math.log(3)
    torch.testing.assert_close(mixture.disagreement(), expected, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 3), (2, 3, 2, 4, 3)])
def test_one_answer_has_its_entropy_and_disagrees_with_nobody(shape: tuple[int, ...]):
    logits, _ = random_logits(0, shape)
    mixture = Mixture()
    mixture.add(logits)
    torch.testing.assert_close(mixture.entropy(), prediction_entropy(logits) / math.log(3))
    assert float(mixture.disagreement().max()) < 1e-6


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="NaN or infinity"):
        Mixture().add(torch.tensor([[math.inf, 0.0]]))


def test_a_case_is_as_uncertain_as_its_structure_and_border():
    prediction = torch.zeros(12, 12, dtype=torch.long)
    prediction[5:7, 5:7] = 1
    uncertainty = torch.zeros(12, 12)
    uncertainty[3:9, 3:9] = 0.5  # the structure and two pixels round it
    found = case_uncertainty(uncertainty, prediction, prediction.float())
    assert found == pytest.approx(0.5)
    assert case_uncertainty(uncertainty, prediction, prediction.float(), border=3) == pytest.approx(
        0.5 * 36 / 64
    )
    uncertainty[0, 0] = 1.0  # far away
    assert case_uncertainty(uncertainty, prediction, prediction.float()) == found


def test_where_nothing_is_predicted_the_likeliest_pixel_counts():
    nothing, foreground = torch.zeros(3, 9, 9, dtype=torch.long), torch.zeros(3, 9, 9)
    foreground[1, 4, 4] = 0.4
    uncertainty = torch.zeros(3, 9, 9)
    uncertainty[:, 2:7, 2:7] = 0.8
    assert case_uncertainty(uncertainty, nothing, foreground) == pytest.approx(0.8)
    foreground[1, 8, 8] = 0.45
    assert case_uncertainty(uncertainty, nothing, foreground) < 0.2
