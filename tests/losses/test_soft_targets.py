import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses import (
    SoftCrossEntropy,
    SoftTargetDiceLoss,
    cross_entropy,
    kl_divergence,
    prediction_entropy,
    soft_cross_entropy,
    soft_dice_loss,
    soft_target_dice_loss,
)
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs

SHAPES = ((3, 2), (2, 2, 5, 4), (2, 3, 5, 4), (2, 4, 4, 3, 4))
shapes = pytest.mark.parametrize("shape", SHAPES)


class TestSoftCrossEntropy(DistillationLossTestCase):
    shapes = SHAPES
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return soft_cross_entropy(student_logits, teacher_logits.softmax(1))


class TestSoftTargetDice(DistillationLossTestCase):
    shapes = SHAPES
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return soft_target_dice_loss(
            student_logits, teacher_logits.softmax(1), include_background=True
        ).mean()


class TestSoftTargetDiceOfForeground(TestSoftTargetDice):
    def loss(self, student_logits, labels, teacher_logits):
        return soft_target_dice_loss(student_logits, teacher_logits.softmax(1)).mean()

    def test_names_of_classes_do_not_matter(self):
        """Those of the foreground; the background is a class apart."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            order = torch.tensor([0, *range(shape[1] - 1, 0, -1)])
            renamed = self.loss(student[:, order], labels, teacher[:, order])
            torch.testing.assert_close(renamed, self.loss(student, labels, teacher))


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1).double()


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4)])
def test_of_two_classes_it_is_the_binary_cross_entropy_of_the_foreground(shape):
    logits, _, teacher = make_inputs(shape)
    y = teacher.softmax(1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], y[:, 1], reduction="none")
    torch.testing.assert_close(soft_cross_entropy(logits, y), expected)


@shapes
def test_hard_targets_give_the_losses_of_labels(shape):
    logits, labels, _ = make_inputs(shape)
    target = one_hot(labels, shape[1])
    torch.testing.assert_close(soft_cross_entropy(logits, target), cross_entropy(logits, labels))
    dice = soft_target_dice_loss(logits, target, include_background=True, smooth=0.5)
    torch.testing.assert_close(dice.mean(), soft_dice_loss(logits, labels, smooth=0.5))


@shapes
def test_cross_entropy_is_divergence_plus_the_entropy_of_the_target(shape):
    logits, _, teacher = make_inputs(shape)
    expected = kl_divergence(logits, teacher) + prediction_entropy(teacher)
    torch.testing.assert_close(soft_cross_entropy(logits, teacher.softmax(1)), expected)


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5))
@settings(max_examples=25)
def test_cross_entropy_is_smallest_at_the_target(seed, classes):
    logits, _, teacher = make_inputs((2, classes, 3, 4), seed=seed)
    y = teacher.softmax(1)
    least = soft_cross_entropy(teacher, y)
    assert bool((soft_cross_entropy(logits, y) >= least - 1e-9).all())
    at_target = teacher.clone().requires_grad_()
    assert gradient(soft_cross_entropy(at_target, y), at_target).abs().max() < 1e-9


@given(seed=st.integers(0, 1000), classes=st.integers(2, 5), background=st.booleans())
@settings(max_examples=25)
def test_dice_lies_between_zero_and_one_and_takes_both_sides_alike(seed, classes, background):
    logits, _, teacher = make_inputs((2, classes, 3, 4), seed=seed)
    found = soft_target_dice_loss(logits, teacher.softmax(1), include_background=background)
    assert bool(((found > 0) & (found < 1)).all())
    turned = soft_target_dice_loss(teacher, logits.softmax(1), include_background=background)
    torch.testing.assert_close(turned, found)


def test_dice_by_hand():
    """p of class 1: 3/4 and 1/2; y: 1 and 0.2; d = (2 (0.75 + 0.1) + 1) / (1.25 + 1.2 + 1)."""
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]])
    y = torch.tensor([[[0.0, 0.8], [1.0, 0.2]]])
    assert soft_target_dice_loss(logits, y).tolist() == [pytest.approx(1 - 2.7 / 3.45)]


def test_each_image_has_a_dice_of_its_own():
    logits, _, teacher = make_inputs((3, 3, 6, 5))
    y = teacher.softmax(1)
    whole = soft_target_dice_loss(logits, y)
    alone = [soft_target_dice_loss(logits[i : i + 1], y[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(alone))


def test_dice_pulls_away_from_a_soft_target():
    """At p = y = 0.6 everywhere, more foreground has less loss; the cross-entropy is at rest there."""
    y = torch.tensor([0.4, 0.6]).view(1, 2, 1, 1).expand(1, 2, 8, 8).double()
    logits = y.log().requires_grad_()
    slope = gradient(soft_target_dice_loss(logits, y), logits)[:, 1]
    assert bool((slope < 0).all())
    assert gradient(soft_cross_entropy(logits, y), logits).abs().max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [soft_cross_entropy, soft_target_dice_loss])
@shapes
def test_saturated_targets_and_logits_stay_finite(loss, shape, dtype):
    logits, labels, _ = make_inputs(shape, dtype=dtype)
    for scale in (1.0, 1e4):
        student = (logits * scale).requires_grad_()
        for target in (one_hot(labels, shape[1]), one_hot(torch.zeros_like(labels), shape[1])):
            value = loss(student, target.to(dtype))
            assert value.dtype == torch.float32
            assert bool(value.isfinite().all())
            assert bool(gradient(value, student).isfinite().all())


def test_infinite_logits_on_the_right_side_cost_nothing():
    logits = torch.tensor([[0.0, -math.inf]])
    assert soft_cross_entropy(logits, torch.tensor([[1.0, 0.0]])).tolist() == [0.0]


def test_modules_agree():
    logits, _, teacher = make_inputs((2, 3, 4, 4))
    y = teacher.softmax(1)
    assert torch.equal(SoftCrossEntropy()(logits, y), soft_cross_entropy(logits, y))
    module = SoftTargetDiceLoss(include_background=True, smooth=0.5)
    expected = soft_target_dice_loss(logits, y, include_background=True, smooth=0.5)
    assert torch.equal(module(logits, y), expected)


@pytest.mark.parametrize("loss", [soft_cross_entropy, soft_target_dice_loss])
@pytest.mark.parametrize("shape", [(1, 2, 4, 5), (1, 3, 4, 4), (1, 4, 4)])
def test_another_shape_is_refused(loss, shape):
    with pytest.raises(ValueError, match=r"logits \(1, 2, 4, 4\) and soft target .* must share one shape"):
        loss(torch.zeros(1, 2, 4, 4), torch.zeros(shape))


def test_a_smoothing_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="smooth must be a number above 0, got 0"):
        SoftTargetDiceLoss(smooth=0)
