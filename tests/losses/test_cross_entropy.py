import math

import pytest
import torch

from meddistill.losses import CrossEntropy, PartialCrossEntropy, cross_entropy, partial_cross_entropy
from meddistill.testing import DistillationLossTestCase, make_inputs


class TestCrossEntropy(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return cross_entropy(student_logits, labels)


class TestPartialCrossEntropy(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return partial_cross_entropy(student_logits, labels)


LOGITS = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # probabilities (1/4, 3/4) and (1/2, 1/2)


def test_values_computed_by_hand():
    expected = torch.tensor([math.log(4), math.log(2)])
    torch.testing.assert_close(cross_entropy(LOGITS, torch.tensor([0, 1])), expected)


def test_ignored_pixels_are_zero_in_the_map_and_absent_from_the_mean():
    labels = torch.tensor([0, -100])
    torch.testing.assert_close(cross_entropy(LOGITS, labels), torch.tensor([math.log(4), 0.0]))
    assert partial_cross_entropy(LOGITS, labels).item() == pytest.approx(math.log(4))


def test_another_ignore_index():
    labels = torch.tensor([0, 255])
    assert partial_cross_entropy(LOGITS, labels, ignore_index=255).item() == pytest.approx(math.log(4))


def test_no_labelled_pixel_gives_zero_and_a_gradient_of_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((1, 3, 3), -100))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(dtype):
    logits, labels, _ = make_inputs((2, 3, 4, 4))
    assert torch.equal(cross_entropy(logits, labels.to(dtype)), cross_entropy(logits, labels))


def test_modules_store_their_argument():
    logits, labels, _ = make_inputs((2, 3, 4, 4))
    torch.testing.assert_close(CrossEntropy(ignore_index=1)(logits, labels)[labels == 1].sum().item(), 0.0)
    expected = partial_cross_entropy(logits, labels, ignore_index=1)
    assert torch.equal(PartialCrossEntropy(ignore_index=1)(logits, labels), expected)


@pytest.mark.parametrize("function", [cross_entropy, partial_cross_entropy])
def test_labels_of_another_shape_are_refused(function):
    with pytest.raises(ValueError, match=r"labels \(1, 4, 5\) do not fit logits \(1, 2, 4, 4\)"):
        function(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5))
