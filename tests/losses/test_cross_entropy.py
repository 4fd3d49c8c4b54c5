import math

import pytest
import torch
from torch.nn import functional as F

from meddistill.losses import CrossEntropy, PartialCrossEntropy, cross_entropy, partial_cross_entropy
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs

TWO_CLASSES = ((3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4))


class TestCrossEntropy(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return cross_entropy(student_logits, labels)


class TestPartialCrossEntropy(DistillationLossTestCase):
    def loss(self, student_logits, labels, teacher_logits):
        return partial_cross_entropy(student_logits, labels)


class TestCrossEntropyOfTwoClasses(DistillationLossTestCase):
    shapes = TWO_CLASSES

    def loss(self, student_logits, labels, teacher_logits):
        return cross_entropy(student_logits, labels)


class TestPartialCrossEntropyOfTwoClasses(DistillationLossTestCase):
    shapes = TWO_CLASSES

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


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ignore_index", [-100, 255])
def test_agrees_with_torch_in_value_and_gradient(classes, ignore_index):
    for shape in ((5, classes), (2, classes, 5, 4), (2, classes, 3, 4, 3)):
        logits, labels, _ = make_inputs(shape)
        labels.view(-1)[1::2] = ignore_index
        logits.requires_grad_()
        for ours, reduction in ((cross_entropy, "none"), (partial_cross_entropy, "mean")):
            expected = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction=reduction)
            found = ours(logits, labels, ignore_index=ignore_index)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(gradient(found, logits), gradient(expected, logits))


@pytest.mark.parametrize("function", [cross_entropy, partial_cross_entropy])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_label_that_is_no_class_is_refused(function, classes):
    with pytest.raises((IndexError, RuntimeError)):
        function(torch.zeros(1, classes, 2), torch.tensor([[0, classes]]))


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


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_two_classes_of_any_integer_type(dtype):
    logits, labels, _ = make_inputs((2, 2, 4, 4))
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
