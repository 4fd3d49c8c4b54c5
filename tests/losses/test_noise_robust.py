import math

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.losses import (
    LabelSmoothingCrossEntropy,
    SymmetricCrossEntropy,
    binary_cross_entropy,
    cross_entropy,
    label_smoothing_cross_entropy,
    symmetric_cross_entropy,
)
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs

TWO_CLASSES = ((3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4))


class TestLabelSmoothing(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return label_smoothing_cross_entropy(student_logits, labels)


class TestLabelSmoothingOfTwoClasses(TestLabelSmoothing):
    shapes = TWO_CLASSES


class TestSymmetric(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return symmetric_cross_entropy(student_logits, labels)


class TestSymmetricOfTwoClasses(TestSymmetric):
    shapes = TWO_CLASSES


LOGITS = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # probabilities (1/4, 3/4) and (1/2, 1/2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 5, 4), (2, 3, 3, 4, 3)])
def test_smoothing_mixes_the_label_with_all_classes(smoothing, shape):
    logits, labels, _ = make_inputs(shape)
    everywhere = -logits.log_softmax(1).mean(1)
    expected = (1 - smoothing) * cross_entropy(logits, labels) + smoothing * everywhere
    found = label_smoothing_cross_entropy(logits, labels, smoothing=smoothing)
    torch.testing.assert_close(found, expected)


def test_symmetric_values_computed_by_hand():
    found = symmetric_cross_entropy(LOGITS, torch.tensor([0, 1]), alpha=0.5, beta=2.0, log_zero=-6.0)
    expected = [0.5 * math.log(4) + 2 * 6 * 0.75, 0.5 * math.log(2) + 2 * 6 * 0.5]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 5, 4), (2, 3, 3, 4, 3)])
def test_the_reverse_term_swaps_label_and_prediction(shape):
    logits, labels, _ = make_inputs(shape)
    one_hot = torch.zeros_like(logits).scatter(1, labels.unsqueeze(1), 1)
    reverse = -(logits.softmax(1) * one_hot.log().clamp(min=-4.0)).sum(1)
    found = symmetric_cross_entropy(logits, labels, alpha=0.0, beta=1.0, log_zero=-4.0)
    torch.testing.assert_close(found, reverse)
    both = symmetric_cross_entropy(logits, labels, alpha=0.3, beta=0.7, log_zero=-4.0)
    torch.testing.assert_close(both, 0.3 * cross_entropy(logits, labels) + 0.7 * reverse)


def test_a_wrong_label_costs_at_most_a():
    logits = torch.tensor([[1e4, 0.0]])
    assert symmetric_cross_entropy(logits, torch.tensor([1]), alpha=0.0).item() == pytest.approx(4.0)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 5, 4)])
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (label_smoothing_cross_entropy, {"smoothing": 0.3}),
        (symmetric_cross_entropy, {"alpha": 0.5, "beta": 2.0}),
    ],
)
def test_a_label_that_excludes_no_other_has_two_states(function, options, shape):
    logits, _, other = make_inputs(shape)
    labels = (other > 0).long()
    labels.view(-1)[::3] = -100
    logits.requires_grad_()
    found = function(logits, labels, **options)
    pairs = torch.stack((torch.zeros_like(logits), logits), 1)  # the two states of each label as two classes
    expected = function(pairs, labels, **options)
    torch.testing.assert_close(found, expected)
    assert not found[labels == -100].any()
    torch.testing.assert_close(gradient(found, logits), gradient(expected, logits))


@pytest.mark.parametrize("function", [label_smoothing_cross_entropy, symmetric_cross_entropy])
def test_ignored_pixels_are_zero(function):
    labels = torch.tensor([0, 255])
    found = function(LOGITS, labels, ignore_index=255)
    assert found[1] == 0
    assert torch.equal(found[0], function(LOGITS, torch.tensor([0, 0]))[0])


def test_modules_store_their_arguments():
    logits, labels, _ = make_inputs((2, 3, 4, 4))
    smoothed = LabelSmoothingCrossEntropy(smoothing=0.3, ignore_index=1)(logits, labels)
    assert torch.equal(smoothed, label_smoothing_cross_entropy(logits, labels, smoothing=0.3, ignore_index=1))
    options = {"alpha": 2.0, "beta": 0.5, "log_zero": -3.0, "ignore_index": 1}
    found = SymmetricCrossEntropy(**options)(logits, labels)
    assert torch.equal(found, symmetric_cross_entropy(logits, labels, **options))


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (label_smoothing_cross_entropy, {"smoothing": 1.5}, "smoothing must lie in 0..1, got 1.5"),
        (binary_cross_entropy, {"smoothing": -0.5}, "smoothing must lie in 0..1, got -0.5"),
        (symmetric_cross_entropy, {"alpha": -1}, "alpha must be a number of 0 or more, got -1"),
        (symmetric_cross_entropy, {"beta": math.nan}, "beta must be a number of 0 or more, got nan"),
        (symmetric_cross_entropy, {"log_zero": 0}, "log_zero must be a number below 0, got 0"),
    ],
)
def test_impossible_options_are_refused(function, options, message):
    with pytest.raises(ConfigError, match=message):
        function(LOGITS, torch.tensor([0, 1]), **options)


@pytest.mark.parametrize("function", [label_smoothing_cross_entropy, symmetric_cross_entropy])
def test_labels_of_another_shape_are_refused(function):
    with pytest.raises(ValueError, match=r"labels \(1, 4, 5\) do not fit logits \(1, 2, 4, 4\)"):
        function(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5))
