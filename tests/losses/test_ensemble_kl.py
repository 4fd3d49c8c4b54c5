import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.losses import bernoulli_kl, ensemble_bernoulli_kl, ensemble_kl, kl_divergence
from meddistill.testing import DistillationLossTestCase, gradient, make_inputs

SHAPES = ((6, 4), (3, 2), (3, 3, 5, 4), (3, 2, 4, 3, 4))
WEIGHTS = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)


def three(teacher):
    return torch.stack([teacher, 2 * teacher, -teacher], 1)


class TestOfClasses(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return ensemble_kl(student_logits, three(teacher_logits), WEIGHTS, temperature=3.0)


class TestOfTwoClasses(TestOfClasses):
    shapes = ((3, 2), (2, 2, 5, 4), (2, 2, 4, 3, 4))


class TestOfLabels(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        found = ensemble_bernoulli_kl(student_logits, three(teacher_logits), WEIGHTS, temperature=3.0)
        return found.sum(1)


def one_by_one(divergence, student, teachers, weights, **options):
    """The weighted sum as it is written: one divergence after another."""
    if weights.ndim == 2:
        weights = weights.movedim(1, 0).reshape(*weights.shape[::-1], *(1,) * (student.ndim - 2))
        weights = weights if divergence is kl_divergence else weights.unsqueeze(-1)
    pairs = zip(weights, teachers.unbind(1), strict=True)
    return sum(weight * divergence(student, teacher, **options) for weight, teacher in pairs)


def cases(shape, by_case):
    student, _, teacher = make_inputs(shape)
    weights = WEIGHTS.expand(shape[0], 3).clone() if by_case else WEIGHTS
    if by_case:
        weights[1] = torch.tensor([0.0, 0.5, 0.5])
    return student.requires_grad_(), three(teacher), weights


@pytest.mark.parametrize("by_case", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_weighted_sum_of_the_divergences(shape, temperature, by_case):
    student, teachers, weights = cases(shape, by_case)
    found = ensemble_kl(student, teachers, weights, temperature=temperature)
    expected = one_by_one(kl_divergence, student, teachers, weights, temperature=temperature)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, student), gradient(expected, student))
    mean = ensemble_kl(student, teachers, weights, temperature=temperature, class_reduction="mean")
    torch.testing.assert_close(mean, expected / shape[1])


@pytest.mark.parametrize("by_case", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_and_that_of_each_label(shape, by_case):
    student, teachers, weights = cases(shape, by_case)
    found = ensemble_bernoulli_kl(student, teachers, weights, temperature=2.0)
    options = {"temperature": 2.0, "label_reduction": "none"}
    expected = one_by_one(bernoulli_kl, student, teachers, weights, **options)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, student), gradient(expected, student))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0.2, 20))
def test_no_divergence_is_below_zero_and_agreement_gives_zero(weights, temperature):
    student, _, teacher = make_inputs((4, 3), dtype=torch.float32)
    weights = torch.tensor(weights)
    assert bool((ensemble_kl(student, three(teacher), weights, temperature=temperature) >= 0).all())
    agreeing = student.unsqueeze(1).expand(-1, 3, -1)
    for function in (ensemble_kl, ensemble_bernoulli_kl):
        found = function(student, agreeing, weights, temperature=temperature)
        torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-5 * temperature**2, rtol=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_impossible_classes_have_no_part(classes):
    """A logit of minus infinity, as of a class that a member does not know, leaves the rest finite."""
    student, _, teacher = make_inputs((4, classes))
    teachers = three(teacher)
    teachers[:, 1, -1] = -math.inf
    student.requires_grad_()
    found = ensemble_kl(student, teachers, WEIGHTS)
    expected = one_by_one(kl_divergence, student, teachers, WEIGHTS)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize(
    ("student", "teachers", "weights"),
    [
        ((2, 3), (2, 2, 4), (2,)),
        ((2, 3), (2, 3), (2,)),
        ((2, 3), (2, 2, 3), (3,)),
        ((2, 3), (2, 2, 3), (3, 2)),
    ],
)
def test_shapes_that_disagree_are_refused(student, teachers, weights):
    for function in (ensemble_kl, ensemble_bernoulli_kl):
        with pytest.raises(ValueError, match=r"disagree: expected \(B, K, \*S\), \(B, M, K, \*S\)"):
            function(torch.zeros(student), torch.zeros(teachers), torch.zeros(weights))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"temperature": 0}, "temperature"), ({"class_reduction": "max"}, "class_reduction")],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ensemble_kl(torch.zeros(2, 3), torch.zeros(2, 1, 3), torch.ones(1), **options)
