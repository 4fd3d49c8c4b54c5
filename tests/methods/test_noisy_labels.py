"""The controls of robust distillation: losses that forgive wrong labels, and co-teaching."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.losses import (
    binary_cross_entropy,
    cross_entropy,
    label_smoothing_cross_entropy,
    partial_cross_entropy,
    symmetric_cross_entropy,
)
from meddistill.methods import CoTeaching, LabelSmoothing, Supervised, SymmetricLearning, TwinLogits
from meddistill.methods.co_teaching import small_losses
from meddistill.testing import MethodTestCase, make_batch, make_inputs
from tests.methods.mixtures import mixture, network

SHAPES = ((6, 3), (4, 3, 6, 5), (3, 3, 4, 3, 4))


class TestLabelSmoothing(MethodTestCase):
    def make_method(self):
        return LabelSmoothing(smoothing=0.2)


class TestSymmetricLearning(MethodTestCase):
    def make_method(self):
        return SymmetricLearning(alpha=0.5)


class TestCoTeaching(MethodTestCase):
    def make_method(self):
        return CoTeaching(forget_rate=0.5, ramp_epochs=4)

    def answer(self, student_logits, other_logits):
        return TwinLogits(student_logits, other_logits)


class TestCoTeachingByPixel(TestCoTeaching):
    def make_method(self):
        return CoTeaching(forget_rate=0.5, ramp_epochs=0, select="pixel")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_means_are_over_the_labelled_pixels(shape):
    logits, labels, _ = make_inputs(shape)
    labels.view(-1)[::3] = -100
    known = labels != -100
    for method, values in (
        (LabelSmoothing(smoothing=0.3), label_smoothing_cross_entropy(logits, labels, smoothing=0.3)),
        (SymmetricLearning(beta=0.5), symmetric_cross_entropy(logits, labels, beta=0.5)),
    ):
        torch.testing.assert_close(method(logits, make_batch(labels))["loss"], values[known].mean())


def test_without_smoothing_it_is_supervised_training():
    logits, labels, _ = make_inputs((4, 3, 6, 5))
    batch = make_batch(labels)
    torch.testing.assert_close(
        LabelSmoothing(smoothing=0.0)(logits, batch)["loss"], Supervised()(logits, batch)["loss"]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_learns_from_the_cases_that_the_other_finds_easiest(shape):
    first, labels, second = make_inputs(shape)
    method = CoTeaching(forget_rate=0.5, ramp_epochs=0)
    means = [cross_entropy(z, labels).reshape(shape[0], -1).mean(1) for z in (first, second)]
    kept = [mean.argsort()[: math.floor(0.5 * shape[0])] for mean in means]
    terms = method(TwinLogits(first, second), make_batch(labels))
    torch.testing.assert_close(terms["first"], means[0][kept[1]].mean())
    torch.testing.assert_close(terms["second"], means[1][kept[0]].mean())
    torch.testing.assert_close(terms["loss"], terms["first"] + terms["second"])


@pytest.mark.parametrize("shape", SHAPES)
def test_or_from_the_pixels(shape):
    first, labels, second = make_inputs(shape)
    labels.view(-1)[::5] = -100
    values = [cross_entropy(z, labels)[labels != -100] for z in (first, second)]
    count = math.floor(0.75 * len(values[0]))
    method = CoTeaching(forget_rate=0.25, ramp_epochs=0, select="pixel")
    terms = method(TwinLogits(first, second), make_batch(labels))
    torch.testing.assert_close(terms["first"], values[0][values[1].argsort()[:count]].mean())
    torch.testing.assert_close(terms["second"], values[1][values[0].argsort()[:count]].mean())


def several(shape):
    """Logits of two networks, and labels that do not exclude each other, some of them unknown."""
    first, _, second = make_inputs(shape)
    labels = (make_inputs(shape, seed=3)[0] > 0).long()
    labels.view(-1)[::4] = -100
    return first, labels, second


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_that_exclude_nothing_have_a_mean_over_the_known_ones(shape):
    logits, labels, _ = several(shape)
    known = labels != -100
    for method, values in (
        (LabelSmoothing(smoothing=0.3), label_smoothing_cross_entropy(logits, labels, smoothing=0.3)),
        (SymmetricLearning(beta=0.5), symmetric_cross_entropy(logits, labels, beta=0.5)),
    ):
        torch.testing.assert_close(method(logits, make_batch(labels))["loss"], values[known].mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_co_teaching_ranks_an_image_by_the_mean_of_its_known_labels(shape):
    first, labels, second = several(shape)
    labels[0] = -100  # an image without any label is never the easiest
    losses = [binary_cross_entropy(z, labels).flatten(1) for z in (first, second)]
    known = (labels != -100).flatten(1).sum(1)
    means = [values.sum(1)[1:] / known[1:] for values in losses]
    kept = [mean.argsort()[: math.floor(0.6 * (shape[0] - 1))] for mean in means]
    terms = CoTeaching(forget_rate=0.4, ramp_epochs=0)(TwinLogits(first, second), make_batch(labels))
    torch.testing.assert_close(terms["first"], means[0][kept[1]].mean())
    torch.testing.assert_close(terms["second"], means[1][kept[0]].mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_or_each_label_by_itself(shape):
    first, labels, second = several(shape)
    values = [binary_cross_entropy(z, labels)[labels != -100] for z in (first, second)]
    count = math.floor(0.75 * len(values[0]))
    method = CoTeaching(forget_rate=0.25, ramp_epochs=0, select="pixel")
    terms = method(TwinLogits(first, second), make_batch(labels))
    torch.testing.assert_close(terms["first"], values[0][values[1].argsort()[:count]].mean())


def test_the_forget_rate_rises_and_stays():
    method = CoTeaching(forget_rate=0.4, ramp_epochs=4)
    rates = []
    for epoch in range(6):
        method.on_epoch_start(epoch)
        rates.append(method.status()["forget_rate"])
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4])


def test_before_anything_is_forgotten_both_learn_from_all_labels():
    first, labels, second = make_inputs((4, 3, 6, 5))
    terms = CoTeaching()(TwinLogits(first, second), make_batch(labels))
    expected = partial_cross_entropy(first, labels) + partial_cross_entropy(second, labels)
    torch.testing.assert_close(terms["loss"], expected)


def test_wrong_labels_are_left_out():
    """Both networks know the classes; a case with another label has the largest loss and teaches neither."""
    labels = torch.tensor([0, 1, 2, 0])
    logits = 5 * torch.nn.functional.one_hot(labels, 3).double()
    wrong = labels.clone()
    wrong[2] = 0
    first, second = (logits.clone().requires_grad_() for _ in range(2))
    loss = CoTeaching(forget_rate=0.25, ramp_epochs=0)(TwinLogits(first, second), make_batch(wrong))["loss"]
    loss.backward()
    for leaf in (first, second):
        assert not leaf.grad[2].any()
        assert leaf.grad[[0, 1, 3]].abs().sum(1).min() > 0


def test_cases_without_a_label_are_never_the_easiest():
    first, labels, second = make_inputs((4, 3, 6, 5))
    labels[1] = -100
    method = CoTeaching(forget_rate=0.0)
    found = method(TwinLogits(first, second), make_batch(labels))["first"]
    torch.testing.assert_close(found, partial_cross_entropy(first, labels))


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), min_size=1, max_size=12), st.floats(0, 1))
def test_the_smallest_known_losses_are_kept(pairs, share):
    values = torch.tensor([value for value, _ in pairs], dtype=torch.float64)
    known = torch.tensor([flag for _, flag in pairs])
    kept = small_losses(values, known, share).bool()
    assert not (kept & ~known).any()
    total = int(known.sum())
    assert (
        int(kept.sum()) in {max(1, math.floor(total * share)), math.floor(total * share + 1e-5)} or not total
    )
    if kept.any() and (known & ~kept).any():
        assert values[kept].max() <= values[known & ~kept].min()


def test_both_networks_learn():
    batch, student = mixture((5, 3, 16, 16)), network("twin")
    method = CoTeaching()
    method(method.answer(student, batch), batch)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (LabelSmoothing, {"smoothing": 2}, "smoothing must lie in 0..1, got 2"),
        (SymmetricLearning, {"alpha": -1}, "alpha must be a number of 0 or more, got -1"),
        (SymmetricLearning, {"log_zero": 1}, "log_zero must be a number below 0, got 1"),
        (CoTeaching, {"forget_rate": 1.5}, "forget_rate must lie in 0..1, got 1.5"),
        (CoTeaching, {"ramp_epochs": -1}, "ramp_epochs must be a whole number of 0 or more, got -1"),
        (CoTeaching, {"select": "pixels"}, "did you mean 'pixel'"),
    ],
)
def test_impossible_options_are_refused(method, options, message):
    with pytest.raises(ConfigError, match=message):
        method(**options)
