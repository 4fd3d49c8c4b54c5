"""Losses over labels of pixels, of whole images, and of labels that exclude nothing, with weights."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses import IGNORE_INDEX, bernoulli_kl
from meddistill.methods import Batch, Context, Distillation, Supervised
from meddistill.methods.class_weights import balanced_weights, label_loss_of


def batch_of(label):
    count = len(label)
    return Batch(
        image=torch.zeros(count, 1, 2, 2), label=label, index=torch.arange(count), case_id=["x"] * count
    )


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5, 6), (2, 4, 3, 3, 3)])
def test_weighted_classes_are_those_of_torch(shape):
    logits, weights = numbers(*shape), torch.tensor([0.5, 1.0, 3.0, 2.0], dtype=torch.float64)
    labels = torch.randint(0, 4, (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(1))
    labels[0] = IGNORE_INDEX
    expected = F.cross_entropy(logits, labels, weight=weights, ignore_index=IGNORE_INDEX)
    assert torch.allclose(label_loss_of(logits, labels, weights), expected)
    assert torch.allclose(
        label_loss_of(logits, labels), F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX)
    )


def test_weighted_labels_are_those_of_torch():
    logits, weights = numbers(5, 3), torch.tensor([2.0, 1.0, 4.0], dtype=torch.float64)
    labels = torch.randint(0, 2, (5, 3), generator=torch.Generator().manual_seed(1))
    expected = F.binary_cross_entropy_with_logits(logits, labels.double(), pos_weight=weights)
    assert torch.allclose(label_loss_of(logits, labels, weights), expected)
    unknown = labels.clone()
    unknown[0] = IGNORE_INDEX
    rest = F.binary_cross_entropy_with_logits(logits[1:], labels[1:].double(), pos_weight=weights)
    assert torch.allclose(label_loss_of(logits, unknown, weights), rest)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_right_and_zero_without_labels(several, weighted):
    logits = numbers(3, 2).requires_grad_()
    labels = (
        torch.tensor([[0, 1], [1, IGNORE_INDEX], [0, 0]]) if several else torch.tensor([0, 1, IGNORE_INDEX])
    )
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64) if weighted else None
    assert torch.autograd.gradcheck(lambda z: label_loss_of(z, labels, weights), logits)
    nothing = label_loss_of(logits, torch.full_like(labels, IGNORE_INDEX), weights)
    nothing.backward()
    assert nothing == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("several", [False, True])
def test_half_precision_gives_a_float32_loss(several):
    labels = torch.tensor([[0, 1], [1, 1]]) if several else torch.tensor([0, 1])
    loss = label_loss_of(numbers(2, 2).bfloat16(), labels, torch.tensor([1.0, 2.0]))
    assert loss.dtype == torch.float32


@given(st.lists(st.integers(0, 2), min_size=3, max_size=30).filter(lambda labels: len(set(labels)) == 3))
def test_balanced_classes_weigh_the_same(labels):
    weights = balanced_weights([torch.tensor(labels[:2]), torch.tensor(labels[2:])], 3)
    totals = [weights[k] * labels.count(k) for k in range(3)]
    assert totals == pytest.approx([len(labels) / 3] * 3)


def test_balanced_labels_weigh_their_positives_as_their_negatives():
    labels = torch.tensor([[1, 0], [0, 0], [0, 1], [0, IGNORE_INDEX]])
    assert balanced_weights([labels], 2) == [3.0, 2.0]


@pytest.mark.parametrize("labels", [torch.tensor([0, 0]), torch.tensor([[1, 0], [1, 1]])])
def test_what_does_not_occur_cannot_be_balanced(labels):
    with pytest.raises(ConfigError, match="needs training cases with and without class"):
        balanced_weights([labels], 2)


def test_supervised_counts_the_training_labels_and_remembers_them():
    method = Supervised(class_weights="balanced")
    labels = torch.tensor([0, 0, 0, 1])
    method.prepare(Context(num_classes=2, epochs=1, labels=lambda: [labels]))
    logits = numbers(4, 2)
    weights = torch.tensor([4 / 6, 2.0], dtype=torch.float64)
    assert torch.allclose(
        method(logits, batch_of(labels))["loss"], F.cross_entropy(logits, labels, weight=weights)
    )
    again = Supervised(class_weights="balanced")
    again.load_state_dict(method.state_dict())
    assert again(logits, batch_of(labels))["loss"] == method(logits, batch_of(labels))["loss"]


def test_supervised_takes_given_weights_for_maps_too():
    method = Supervised(class_weights=[1, 5])
    method.prepare(Context(num_classes=2, epochs=1))
    logits, labels = numbers(2, 2, 3, 3), torch.randint(0, 2, (2, 3, 3))
    expected = F.cross_entropy(logits, labels, weight=torch.tensor([1.0, 5.0], dtype=torch.float64))
    assert torch.allclose(method(logits, batch_of(labels))["loss"], expected)


@pytest.mark.parametrize("weights", ["equal", [0, 1], [1, -1], [1, True], [2.0], [1, "2"]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ConfigError, match="class_weights must be 'balanced'"):
        Supervised(class_weights=weights)


def test_another_number_of_weights_than_classes_is_refused():
    with pytest.raises(ConfigError, match=r"holds 3 numbers, but there are 2 classes"):
        Supervised(class_weights=[1, 2, 3]).prepare(Context(num_classes=2, epochs=1))
    with pytest.raises(ValueError, match="need the labels"):
        Supervised(class_weights="balanced").prepare(Context(num_classes=2, epochs=1))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_distillation_of_labels_that_exclude_nothing(reduction):
    student, teacher = numbers(4, 3), numbers(4, 3, seed=1)
    labels = torch.randint(0, 2, (4, 3), generator=torch.Generator().manual_seed(2))
    labels[0, 0] = IGNORE_INDEX
    terms = Distillation(temperature=2, class_reduction=reduction)(student, batch_of(labels), teacher)
    known = labels != IGNORE_INDEX
    divergence = bernoulli_kl(student, teacher, temperature=2, label_reduction="none")[known].mean()
    assert torch.allclose(terms["kd"], divergence / (2 if reduction == "mean" else 1))
    own = F.binary_cross_entropy_with_logits(student, labels.double(), reduction="none")[known].mean()
    assert torch.allclose(terms["ce"], own)
    assert torch.allclose(terms["loss"], terms["kd"] + terms["ce"])


def test_a_label_is_a_pixel_of_two_classes():
    """The same numbers as for maps whose two logits are 0 and the label's."""
    student, teacher = numbers(4, 3), numbers(4, 3, seed=1)
    labels = torch.randint(0, 2, (4, 3), generator=torch.Generator().manual_seed(2))
    as_maps = [torch.stack([torch.zeros_like(z), z], dim=1) for z in (student, teacher)]
    method = Distillation(temperature=3, alpha=0.4)
    one = method(student, batch_of(labels), teacher)
    other = method(as_maps[0], batch_of(labels), as_maps[1])
    assert all(torch.allclose(one[name], other[name]) for name in one)
