"""Negative log-likelihood and Brier score against sklearn, torch and the definition."""

import math

import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss
from torch.nn import functional as F

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError
from meddistill.evaluation import brier_score, negative_log_likelihood
from meddistill.evaluation.proper_scores import pixel_scores
from tests.evaluation.answer_maps import random_logits, some_unknown


@pytest.mark.parametrize("shape", [(50, 4), (4, 3, 6, 5), (2, 2, 4, 5, 3)])
def test_both_agree_with_sklearn_over_the_labelled_pixels(shape: tuple[int, ...]):
    logits, labels = some_unknown(random_logits(1, shape))
    probabilities = logits.double().softmax(dim=1)
    known = labels != IGNORE_INDEX
    flat = probabilities.movedim(1, -1)[known].numpy()
    truth, classes = labels[known].numpy(), list(range(shape[1]))
    found = negative_log_likelihood(probabilities, labels)
    assert found == pytest.approx(log_loss(truth, flat, labels=classes), rel=1e-9)
    squared = brier_score_loss(truth, flat, labels=classes, scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(squared, rel=1e-9)


def test_scores_of_pixels_are_those_of_torch():
    logits, labels = some_unknown(random_logits(2))
    nll, brier = pixel_scores(logits.log_softmax(dim=1), labels)
    expected = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    torch.testing.assert_close(nll, expected)
    truth = F.one_hot(labels.clamp_min(0), 3).movedim(-1, 1)
    squares = (logits.softmax(dim=1) - truth).square().sum(dim=1).masked_fill(labels == IGNORE_INDEX, 0)
    torch.testing.assert_close(brier, squares)


def test_gradients_of_pixel_scores():
    logits, labels = some_unknown(random_logits(3, (2, 3, 2)))
    wanted = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: tuple(pixel_scores(given.log_softmax(1), labels)), wanted)


def test_a_truth_that_is_held_for_impossible_stays_finite():
    assert math.isfinite(negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1])))


def test_nothing_known_gives_nan_and_shapes_must_fit():
    nothing = torch.full((2,), IGNORE_INDEX)
    for score in (brier_score, negative_log_likelihood):
        assert math.isnan(score(torch.full((2, 2), 0.5), nothing))
        with pytest.raises(DataError, match="do not fit labels"):
            score(torch.full((2, 2), 0.5), nothing[:1])
