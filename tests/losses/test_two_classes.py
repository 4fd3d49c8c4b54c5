"""The shortcuts for two classes against the formulas written out with log_softmax."""

import math

import pytest
import torch
from torch.nn import functional as F

from meddistill.losses import two_classes
from meddistill.testing import gradient, make_inputs

SHAPES = [(4, 2), (2, 2, 5, 4), (2, 2, 3, 4, 3)]


def labels_and_ignored(shape):
    student, labels, teacher = make_inputs(shape)
    labels.view(-1)[::3] = -100
    return student, labels, teacher


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.5])
def test_divergence(shape, temperature):
    student, _, teacher = make_inputs(shape)
    log_q, log_p = (F.log_softmax(z / temperature, 1) for z in (student.requires_grad_(), teacher))
    expected = temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1)
    found = two_classes.divergence(student, teacher, temperature)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(shape):
    student, labels, _ = labels_and_ignored(shape)
    expected = F.cross_entropy(student.requires_grad_(), labels, reduction="none")
    found = two_classes.cross_entropy(student, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, student), gradient(expected, student))


@pytest.mark.parametrize("shape", SHAPES)
def test_confidence(shape):
    _, labels, teacher = labels_and_ignored(shape)
    known = labels >= 0
    own = (teacher / 1.5).softmax(1).gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(two_classes.confidence(teacher, labels, temperature=1.5), own * known)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_agree_with_finite_differences(shape):
    student, labels, teacher = labels_and_ignored(shape)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: two_classes.divergence(s, teacher, 3.0), (student,))
    assert torch.autograd.gradcheck(lambda s: two_classes.cross_entropy(s, labels), (student,))


def test_saturated_logits_cost_what_they_are_apart():
    student = torch.tensor([[0.0, 2000.0], [0.0, -2000.0], [3e4, -3e4]], requires_grad=True)
    teacher = torch.tensor([[0.0, 2000.0], [0.0, 2000.0], [3e4, -3e4]])
    divergence = two_classes.divergence(student, teacher, 1.0)
    assert divergence.tolist() == [0.0, 2000.0, 0.0]
    assert gradient(divergence, student).tolist() == [[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]]
    entropy = two_classes.cross_entropy(student, torch.tensor([1, 1, 1]))
    assert entropy.tolist() == [0.0, 2000.0, 6e4]


def test_a_teacher_that_excludes_a_class_gives_a_finite_divergence():
    teacher = torch.tensor([[-math.inf, 0.0], [0.0, -math.inf]])
    student = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])  # (1/4, 3/4)
    found = two_classes.divergence(student, teacher, 1.0)
    torch.testing.assert_close(found, torch.tensor([math.log(4 / 3), math.log(4)]))


def test_a_second_derivative_is_refused():
    student, labels, _ = make_inputs((3, 2))
    loss = (two_classes.cross_entropy(student.requires_grad_(), labels) * student[:, 0].exp()).sum()
    (first,) = torch.autograd.grad(loss, student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_a_graph_that_is_kept_gives_the_same_gradient_again():
    student, _, teacher = make_inputs((3, 2))
    loss = two_classes.divergence(student.requires_grad_(), teacher, 2.0).sum()
    first, second = (torch.autograd.grad(loss, student, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
