import math

import pytest
import torch
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses import KLDivergence, kl_divergence
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs


class TestSummed(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return kl_divergence(student_logits, teacher_logits, temperature=4.5)


class TestSummedOverTwoClasses(DistillationLossTestCase):
    shapes = ((3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4))
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return kl_divergence(student_logits, teacher_logits, temperature=4.5)


class TestMeanAtLowTemperature(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return kl_divergence(student_logits, teacher_logits, temperature=0.5, class_reduction="mean")


def test_value_computed_by_hand():
    teacher = torch.tensor([[0.0, 2 * math.log(3)]])  # at T = 2: probabilities 1/4 and 3/4
    student = torch.zeros(1, 2)
    expected = 4 * (0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5))
    assert kl_divergence(student, teacher, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5, 14])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("temperature", [0.5, 4.5])
def test_agrees_with_the_formula_in_value_and_gradient(classes, reduction, temperature):
    for shape in ((3, classes), (2, classes, 5, 4), (2, classes, 3, 4, 3)):
        student, _, teacher = make_inputs(shape)
        log_q, log_p = (F.log_softmax(z / temperature, 1) for z in (student.requires_grad_(), teacher))
        per_class = temperature**2 * log_p.exp() * (log_p - log_q)
        expected = per_class.sum(1) if reduction == "sum" else per_class.mean(1)
        found = kl_divergence(student, teacher, temperature=temperature, class_reduction=reduction)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_single_precision_agrees_with_double(classes):
    student, _, teacher = make_inputs((4, classes, 16, 16), dtype=torch.float32)
    exact = kl_divergence(student.double(), teacher.double(), temperature=4.5)
    torch.testing.assert_close(
        kl_divergence(student, teacher, temperature=4.5).double(), exact, atol=2e-5, rtol=1e-5
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_layout_in_memory_does_not_matter(classes):
    student, _, teacher = make_inputs((2, classes, 6, 5))
    plain = kl_divergence(student, teacher)
    last = (z.to(memory_format=torch.channels_last) for z in (student, teacher))
    torch.testing.assert_close(kl_divergence(*last), plain)


@pytest.mark.parametrize("classes", [2, 3, 14])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 100.0])
def test_is_never_negative_nor_infinite(classes, temperature):
    """Saturated or nearly equal, where rounding could push it below 0."""
    student, _, noise = make_inputs((2, classes, 8, 8), dtype=torch.float32)
    for teacher in (student, student + 1e-3 * noise, 1e4 * noise):
        divergence = kl_divergence(1e4 * student, teacher, temperature=temperature)
        assert divergence.isfinite().all()
        assert (divergence >= 0).all()
        assert (kl_divergence(student, teacher, temperature=temperature) >= 0).all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_class_that_the_teacher_excludes_adds_nothing(reduction):
    teacher = torch.tensor([[0.0, -math.inf, 0.0]])
    found = kl_divergence(torch.zeros(1, 3), teacher, class_reduction=reduction)
    assert found.item() == pytest.approx(math.log(1.5) / (1 if reduction == "sum" else 3), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_second_derivative_is_refused(classes):
    student, _, teacher = make_inputs((2, classes))
    student.requires_grad_()
    loss = (kl_divergence(student, teacher) * student[:, 0].exp()).sum()
    (first,) = torch.autograd.grad(loss, student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_equal_logits_diverge_by_nothing():
    logits, _, _ = make_inputs((2, 3, 4, 4))
    torch.testing.assert_close(kl_divergence(logits, logits + 7.0), torch.zeros(2, 4, 4).double())


def test_sum_is_the_mean_times_the_number_of_classes():
    student, _, teacher = make_inputs((2, 5, 3, 3))
    mean = kl_divergence(student, teacher, class_reduction="mean")
    torch.testing.assert_close(kl_divergence(student, teacher), 5 * mean)


def test_square_of_the_temperature_keeps_the_gradient_of_its_size():
    student, _, teacher = make_inputs((1, 3, 2, 2))
    norms = []
    for temperature in (50.0, 100.0):
        leaf = student.clone().requires_grad_()
        kl_divergence(leaf, teacher, temperature=temperature).sum().backward()
        norms.append(leaf.grad.norm())
    torch.testing.assert_close(norms[0], norms[1], rtol=0.05, atol=0)


def test_bfloat16_at_a_temperature_of_one_twentieth_is_finite():
    student, _, teacher = make_inputs((2, 3, 4, 4), dtype=torch.bfloat16)
    student = (20 * student).requires_grad_()
    loss = kl_divergence(student, 20 * teacher, temperature=0.05)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert (loss >= 0).all()
    assert student.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision():
    student, _, teacher = make_inputs((2, 3, 4, 4), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = kl_divergence(student, teacher)
    assert torch.equal(inside, kl_divergence(student, teacher))


def test_module_stores_its_arguments():
    student, _, teacher = make_inputs((2, 3, 4, 4))
    module = KLDivergence(temperature=3.0, class_reduction="mean")
    expected = kl_divergence(student, teacher, temperature=3.0, class_reduction="mean")
    assert torch.equal(module(student, teacher), expected)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf, "hot", True])
def test_impossible_temperatures_are_refused(temperature):
    with pytest.raises(ConfigError, match="temperature must be a number above 0"):
        kl_divergence(torch.zeros(1, 2), torch.zeros(1, 2), temperature=temperature)


def test_unknown_reduction_is_refused():
    with pytest.raises(ConfigError, match="unknown class_reduction 'max'"):
        kl_divergence(torch.zeros(1, 2), torch.zeros(1, 2), class_reduction="max")


def test_other_shapes_are_refused_with_both_named():
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\).*\(1, 2, 4, 5\)"):
        kl_divergence(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
