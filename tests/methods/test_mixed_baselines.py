"""The controls and peers of mixed supervision, each by its own formula."""

import copy
import math

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.losses import partial_cross_entropy, soft_dice_loss
from meddistill.methods import (
    CrossPseudoSupervision,
    MeanTeacher,
    SingleBranch,
    Supervised,
    TaughtLogits,
    TwinLogits,
)
from meddistill.testing import MethodTestCase, make_batch, make_inputs
from tests.methods.mixtures import mixture, network, where


class TestSingleBranch(MethodTestCase):
    def make_method(self):
        return SingleBranch(dice=0.5)


class TestMeanTeacher(MethodTestCase):
    uses_labels = False
    learns_from_labels_alone = False

    def make_method(self):
        return MeanTeacher(ramp_epochs=4)

    def answer(self, student_logits, other_logits):
        return TaughtLogits(student_logits, other_logits)


class TestCrossPseudoSupervision(TestMeanTeacher):
    def make_method(self):
        return CrossPseudoSupervision(ramp_epochs=3)

    def answer(self, student_logits, other_logits):
        return TwinLogits(student_logits, other_logits)


def logits(seed: int = 4) -> torch.Tensor:
    return make_inputs((5, 3, 8, 7), seed=seed)[0]


def label_losses(z: torch.Tensor, batch, dice: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    full = where(batch, "full")
    strong = partial_cross_entropy(z[full], batch["label"][full])
    if dice:
        strong = strong + dice * soft_dice_loss(z[full], batch["label"][full])
    return strong, partial_cross_entropy(z[~full], batch["label"][~full])


def test_a_single_branch_learns_from_both_kinds_of_labels():
    batch = mixture()
    strong, weak = label_losses(logits(), batch, dice=0.3)
    terms = SingleBranch(w_weak=0.7, dice=0.3)(logits(), batch)
    torch.testing.assert_close((terms["strong"], terms["weak"]), (strong, weak))
    torch.testing.assert_close(terms["loss"], strong + 0.7 * weak)


def test_a_single_branch_on_full_masks_is_supervised_training():
    batch = make_batch(make_inputs((5, 3, 8, 7))[1])
    torch.testing.assert_close(SingleBranch()(logits(), batch)["loss"], Supervised()(logits(), batch)["loss"])


@pytest.mark.parametrize("part", ["full", "weak", "all"])
def test_a_mean_teacher_asks_for_the_same_probabilities(part):
    batch = mixture()
    method = MeanTeacher(w_weak=0.5, w_consistency=2.0, ramp_epochs=10, consistency_on=part)
    student, teacher, rows = logits(4), logits(5), where(batch, part)
    expected = (student[rows].softmax(1) - teacher[rows].softmax(1)).square().mean()
    strong, weak = label_losses(student, batch)
    for epoch, factor in ((0, math.exp(-5)), (5, math.exp(-1.25)), (10, 1.0), (50, 1.0)):
        method.on_epoch_start(epoch)
        terms = method(TaughtLogits(student, teacher), batch)
        torch.testing.assert_close(terms["consistency"], expected)
        torch.testing.assert_close(terms["loss"], strong + 0.5 * weak + 2.0 * factor * expected)
        assert method.status() == {"consistency_weight": pytest.approx(2.0 * factor)}


def test_the_teacher_sees_other_noise_and_gets_no_gradient():
    batch, student = mixture((5, 3, 16, 16)), network("mean_teacher")
    seen = []
    for part in (student.student, student.teacher):
        part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method = MeanTeacher(noise=0.1)
    torch.manual_seed(1)
    answer = method.answer(student, batch)
    added = [image - batch["image"] for image in seen]
    assert not torch.equal(*added)
    for each in added:
        assert 0.05 < each.std() < 0.12
        assert each.abs().max() <= 0.2 + 1e-6
    assert answer.student.requires_grad
    assert not answer.teacher.requires_grad
    torch.manual_seed(1)
    torch.testing.assert_close(method.answer(copy.deepcopy(student), batch).student, answer.student)
    seen.clear()
    MeanTeacher(noise=0.0).answer(student, batch)
    assert all(torch.equal(image, batch["image"]) for image in seen)


def test_after_each_step_the_teacher_follows():
    student = network("mean_teacher")
    before = [p.clone() for p in student.teacher.parameters()]
    with torch.no_grad():
        for parameter in student.student.parameters():
            parameter.add_(1.0)
    MeanTeacher(ema_decay=0.9).after_step(student)
    for old, new in zip(before, student.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.5)  # the mean of two
    MeanTeacher(ema_decay=0.0).after_step(student)
    for own, new in zip(student.student.parameters(), student.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, own)


@pytest.mark.parametrize("part", ["full", "weak", "all"])
def test_two_networks_teach_each_other_their_most_likely_class(part):
    batch = mixture()
    first, second, rows = logits(4), logits(5), where(batch, part)
    method = CrossPseudoSupervision(w_weak=0.5, w_cross=2.0, cross_on=part)
    terms = method(TwinLogits(first, second), batch)
    cross = partial_cross_entropy(first[rows], second[rows].argmax(1))
    cross = cross + partial_cross_entropy(second[rows], first[rows].argmax(1))
    own, others = label_losses(first, batch), label_losses(second, batch)
    torch.testing.assert_close(terms["cross"], cross)
    expected = own[0] + others[0] + 0.5 * (own[1] + others[1]) + 2.0 * cross
    torch.testing.assert_close(terms["loss"], expected)


def test_both_networks_learn():
    batch, student = mixture((5, 3, 16, 16)), network("twin")
    method = CrossPseudoSupervision()
    method(method.answer(student, batch), batch)["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())


@pytest.mark.parametrize("method", [SingleBranch(), MeanTeacher(), CrossPseudoSupervision()])
@pytest.mark.parametrize("full", [(), (0, 1, 2, 3, 4)])
def test_a_batch_of_one_kind_gives_a_finite_loss(method, full):
    batch = mixture((5, 3, 16, 16), full)
    terms = method(method.answer(network(method.form), batch), batch)
    assert all(term.isfinite() for term in terms.values())
    assert terms["strong" if not full else "weak"] == 0.0


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (SingleBranch, {"w_weak": -1}, "w_weak must be a number of 0 or more, got -1"),
        (MeanTeacher, {"ema_decay": 1.5}, "ema_decay must lie in 0..1, got 1.5"),
        (MeanTeacher, {"ramp_epochs": -1}, "ramp_epochs must be a whole number of 0 or more, got -1"),
        (MeanTeacher, {"consistency_on": "none"}, "unknown consistency_on 'none'"),
        (MeanTeacher, {"noise": True}, "noise must be a number of 0 or more, got True"),
        (CrossPseudoSupervision, {"w_cross": "2"}, "w_cross must be a number of 0 or more, got '2'"),
        (CrossPseudoSupervision, {"ramp_epochs": 1.5}, "ramp_epochs must be a whole number"),
    ],
)
def test_impossible_options_are_refused(method, options, message):
    with pytest.raises(ConfigError, match=message):
        method(**options)
