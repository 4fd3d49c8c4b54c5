import math

import pytest
import torch
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses import BernoulliKL, bernoulli_kl, binary_cross_entropy, kl_divergence
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs

SHAPES = ((3, 4), (2, 3, 5, 4), (2, 3, 4, 3, 4))


class TestSummed(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return bernoulli_kl(student_logits, teacher_logits, temperature=10.0)


class TestMeanOfOneLabel(DistillationLossTestCase):
    shapes = ((3, 1), (2, 1, 5, 4), (2, 1, 4, 3, 4))
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return bernoulli_kl(student_logits, teacher_logits, temperature=0.5, label_reduction="mean")


def test_value_computed_by_hand():
    teacher = torch.tensor([[2 * math.log(3), 0.0]])  # at T = 2: 3/4 and 1/2
    student = torch.tensor([[0.0, -2 * math.log(3)]])  # 1/2 and 1/4
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    found = bernoulli_kl(student, teacher, temperature=2.0)
    assert found.item() == pytest.approx(4 * (first + second), rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.5, 10.0])
def test_each_label_is_a_divergence_of_two_classes(shape, temperature):
    student, _, teacher = make_inputs(shape)
    student.requires_grad_()
    for label in range(shape[1]):
        found = bernoulli_kl(student, teacher, temperature=temperature, label_reduction="none")
        assert found.shape == shape
        pair = [torch.stack((torch.zeros_like(z[:, label]), z[:, label]), 1) for z in (student, teacher)]
        expected = kl_divergence(*pair, temperature=temperature)
        torch.testing.assert_close(found[:, label], expected)
        ours, theirs = (gradient(loss, student) for loss in (found[:, label], expected))
        torch.testing.assert_close(ours, theirs)


def test_sum_is_the_mean_times_the_number_of_labels():
    student, _, teacher = make_inputs((2, 5, 3, 3))
    mean = bernoulli_kl(student, teacher, label_reduction="mean")
    torch.testing.assert_close(bernoulli_kl(student, teacher), 5 * mean)


def test_equal_logits_diverge_by_nothing_and_shifted_ones_do():
    logits, _, _ = make_inputs((2, 3, 4, 4))
    torch.testing.assert_close(bernoulli_kl(logits, logits), torch.zeros(2, 4, 4).double())
    assert (bernoulli_kl(logits, logits + 1) > 0).all()  # softmax would not mind


@pytest.mark.parametrize("temperature", [0.05, 1.0, 100.0])
def test_is_never_negative_nor_infinite(temperature):
    student, _, noise = make_inputs((2, 3, 8, 8), dtype=torch.float32)
    for teacher in (student, student + 1e-3 * noise, 1e4 * noise, torch.full_like(noise, math.inf)):
        for own in (student, 1e4 * student):
            found = bernoulli_kl(own, teacher, temperature=temperature)
            assert found.isfinite().all()
            assert (found >= 0).all()


def test_module_stores_its_arguments():
    student, _, teacher = make_inputs((2, 3, 4, 4))
    found = BernoulliKL(temperature=3.0, label_reduction="mean")(student, teacher)
    assert torch.equal(found, bernoulli_kl(student, teacher, temperature=3.0, label_reduction="mean"))


def test_impossible_arguments_are_refused():
    z = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="temperature must be a number above 0, got 0"):
        bernoulli_kl(z, z, temperature=0)
    with pytest.raises(ConfigError, match="unknown label_reduction 'max'"):
        bernoulli_kl(z, z, label_reduction="max")
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        bernoulli_kl(z, torch.zeros(1, 3))


class TestBinaryCrossEntropy(DistillationLossTestCase):
    """Every label of a pixel follows from its class, so that the shared properties can be asked for."""

    def loss(self, student_logits, labels, teacher_logits):
        multi = torch.stack([labels == k for k in range(student_logits.shape[1])], 1).long()
        multi = multi.masked_fill((labels == -100).unsqueeze(1), -100)
        return binary_cross_entropy(student_logits, multi).sum(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_agrees_with_torch(shape):
    logits, _, other = make_inputs(shape)
    labels = (other > 0).long()
    logits.requires_grad_()
    found = binary_cross_entropy(logits, labels)
    expected = F.binary_cross_entropy_with_logits(logits, labels.double(), reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, logits), gradient(expected, logits))


def test_ignored_labels_are_zero_one_by_one():
    logits = torch.tensor([[0.0, math.nan, 1.0]], requires_grad=True)
    found = binary_cross_entropy(logits, torch.tensor([[1, -100, 0]]))
    torch.testing.assert_close(found, torch.tensor([[math.log(2), 0.0, math.log(1 + math.e)]]))
    assert gradient(found, logits)[0, 1] == 0


def test_one_class_for_each_pixel_is_refused():
    with pytest.raises(ValueError, match=r"labels \(1, 4\) do not fit .* each 0 or 1"):
        binary_cross_entropy(torch.zeros(1, 2, 4), torch.zeros(1, 4))
