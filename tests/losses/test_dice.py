import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.losses import SoftDiceLoss, soft_dice_loss
from meddistill.testing import DistillationLossTestCase, make_inputs


class TestSoftDiceLoss(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return soft_dice_loss(student_logits, labels)


def test_value_computed_by_hand():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [1.0986123, 0.0, 50.0]]])  # p of class 1: 3/4, 1/2, 1
    labels = torch.tensor([[1, 0, 1]])
    second = (2 * (0.75 + 1) + 1) / (2.25 + 2 + 1)
    first = (2 * 0.5 + 1) / (0.75 + 1 + 1)
    assert soft_dice_loss(logits, labels).item() == pytest.approx(1 - (first + second) / 2, rel=1e-5)


def test_agrees_with_monai():
    from monai.losses import DiceLoss

    logits, labels, _ = make_inputs((2, 3, 6, 5))
    theirs = DiceLoss(softmax=True, to_onehot_y=True, smooth_nr=1.0, smooth_dr=1.0)
    torch.testing.assert_close(soft_dice_loss(logits, labels), theirs(logits, labels.unsqueeze(1)))


def test_lies_between_zero_and_one_and_right_answers_give_nearly_nothing():
    logits, labels, _ = make_inputs((2, 3, 16, 16))
    assert 0 < soft_dice_loss(logits, labels) < 1
    right = 50 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).double()
    assert soft_dice_loss(right, labels) < 1e-9


def test_nothing_labelled_gives_zero_with_a_gradient_of_zero():
    logits, labels, _ = make_inputs((2, 3, 4, 4))
    logits.requires_grad_()
    loss = soft_dice_loss(logits, torch.full_like(labels, -100))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()
    assert soft_dice_loss(logits[:0], labels[:0]) == 0


def test_module_agrees():
    logits, labels, _ = make_inputs((2, 3, 4, 4))
    labels[0] = 7
    module = SoftDiceLoss(ignore_index=7, smooth=0.5)
    assert torch.equal(module(logits, labels), soft_dice_loss(logits, labels, ignore_index=7, smooth=0.5))


def test_a_smoothing_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="smooth must be a number above 0, got 0"):
        SoftDiceLoss(smooth=0)
