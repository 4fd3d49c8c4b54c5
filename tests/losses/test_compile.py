"""Losses, masks and methods in one graph of `torch.compile`: no branch on data, no graph break."""

import pytest
import torch

from meddistill.losses import (
    bernoulli_kl,
    cross_entropy,
    kl_divergence,
    label_smoothing_cross_entropy,
    label_smoothing_map,
    partial_cross_entropy,
    soft_dice_loss,
    symmetric_cross_entropy,
)
from meddistill.losses.certainty import label_certainty
from meddistill.methods import Context, Distillation, PacedDistillation
from meddistill.pacing import TrueClass
from meddistill.testing import gradient, make_batch, make_inputs

LOSSES = {
    "divergence": lambda s, y, t: kl_divergence(s, t, temperature=4.5),
    "mean divergence": lambda s, y, t: kl_divergence(s, t, class_reduction="mean"),
    "cross-entropy": lambda s, y, t: cross_entropy(s, y),
    "partial cross-entropy": lambda s, y, t: partial_cross_entropy(s, y),
    "soft Dice": lambda s, y, t: soft_dice_loss(s, y),
    "divergence of labels": lambda s, y, t: bernoulli_kl(s, t, temperature=10.0),
    "smoothed cross-entropy": lambda s, y, t: label_smoothing_cross_entropy(s, y),
    "symmetric cross-entropy": lambda s, y, t: symmetric_cross_entropy(s, y),
}

LABELS_AND_TEACHER = {
    "confidence": lambda y, t: TrueClass(1.5)(t, y),
    "certainty": lambda y, t: label_certainty(y, t.shape[1]),
    "smoothed labels": lambda y, t: label_smoothing_map(y, t.shape[1], kernel_size=5),
}


def inputs(classes: int):
    student, labels, teacher = make_inputs((2, classes, 6, 5), dtype=torch.float32)
    labels[0, 0] = -100
    return student.requires_grad_(), labels, teacher


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_loss_agrees_in_value_and_gradient(name, classes):
    student, labels, teacher = inputs(classes)
    plain = LOSSES[name](student, labels, teacher)
    found = compiled(LOSSES[name])(student, labels, teacher)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(gradient(found, student), gradient(plain, student))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", LABELS_AND_TEACHER)
def test_a_compiled_map_agrees(name, classes):
    _, labels, teacher = inputs(classes)
    function = LABELS_AND_TEACHER[name]
    torch.testing.assert_close(compiled(function)(labels, teacher), function(labels, teacher))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", [Distillation(), PacedDistillation(confidence_temperature=1.0, beta=0.4)])
def test_a_compiled_method_agrees(method, classes):
    student, labels, teacher = inputs(classes)
    method.prepare(Context(classes, 10, lambda: [(teacher, labels)]))

    def step(logits):
        return method(logits, make_batch(labels), teacher)["loss"]

    found, plain = compiled(step)(student), step(student)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(gradient(found, student), gradient(plain, student))
