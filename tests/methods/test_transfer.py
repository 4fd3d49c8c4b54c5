"""Learning the teachers' masks, and nothing but them."""

import pytest
import torch
from torch.nn import functional as F

from meddistill.errors import ConfigError, TeacherError
from meddistill.exclusion import GreyLevelEntropy, TargetPixels
from meddistill.losses import (
    cross_entropy,
    soft_cross_entropy,
    soft_dice_loss,
    soft_target_dice_loss,
)
from meddistill.methods import Context, PseudoLabelTransfer
from meddistill.testing import MethodTestCase, gradient, make_batch, make_inputs


class TestPseudoLabelTransfer(MethodTestCase):
    uses_labels = False
    learns_from_labels_alone = False
    shapes = ((3, 2), (2, 2, 5, 4), (2, 3, 5, 4), (2, 3, 4, 3, 4))

    def make_method(self):
        return PseudoLabelTransfer()

    def test_names_of_classes_do_not_matter(self):
        """Those of the foreground; the background is a class apart."""
        for shape in self.shapes:
            student, labels, teacher = make_inputs(shape)
            order = torch.tensor([0, *range(shape[1] - 1, 0, -1)])
            renamed = self.loss(student[:, order], labels, teacher[:, order])
            torch.testing.assert_close(renamed, self.loss(student, labels, teacher))


class TestHard(TestPseudoLabelTransfer):
    def make_method(self):
        return PseudoLabelTransfer(target="hard", bce=0.5, dice=2.0)


class TestDynamic(TestPseudoLabelTransfer):
    def make_method(self):
        return PseudoLabelTransfer(dynamic={"tau": 0.5})


def test_the_terms_are_cross_entropy_and_dice_with_the_soft_mask():
    student, labels, teacher = make_inputs((2, 3, 6, 5))
    terms = PseudoLabelTransfer(bce=0.3, dice=2.0)(student, make_batch(labels), teacher)
    y = teacher.softmax(1)
    torch.testing.assert_close(terms["bce"], soft_cross_entropy(student, y).mean())
    torch.testing.assert_close(terms["dice"], soft_target_dice_loss(student, y).mean())
    torch.testing.assert_close(terms["loss"], 0.3 * terms["bce"] + 2.0 * terms["dice"])


def test_the_hard_mask_is_the_most_likely_class():
    student, labels, teacher = make_inputs((2, 2, 6, 5))
    method = PseudoLabelTransfer(target="hard")
    terms, chosen = method(student, make_batch(labels), teacher), teacher.argmax(1)
    assert torch.equal(method.mask(teacher).argmax(1), chosen)
    torch.testing.assert_close(terms["bce"], cross_entropy(student, chosen).mean())
    foreground = 2 * (student.softmax(1)[:, 1] * chosen).flatten(1).sum(1) + 1
    sizes = student.softmax(1)[:, 1].flatten(1).sum(1) + chosen.flatten(1).sum(1) + 1
    torch.testing.assert_close(terms["dice"], (1 - foreground / sizes).mean())
    assert soft_dice_loss(student, chosen) != terms["dice"]  # the background does not count here


@pytest.mark.parametrize("target", ["soft", "hard"])
def test_labels_are_never_looked_at(target):
    student, labels, teacher = make_inputs((2, 3, 6, 5))
    student.requires_grad_()
    method = PseudoLabelTransfer(target=target)
    batch = make_batch(labels)
    loss = method(student, batch, teacher)["loss"]
    slope = gradient(loss, student)
    for other in (torch.full_like(labels, -100), 2 - labels, labels[:1, :2]):
        found = method(student, {**batch, "label": other}, teacher)["loss"]
        assert torch.equal(found, loss)
        assert torch.equal(gradient(found, student), slope)
    del batch["label"]
    assert torch.equal(method(student, batch, teacher)["loss"], loss)
    assert not method.needs_labels


def test_training_on_the_soft_mask_ends_at_the_teacher():
    """By cross-entropy alone, which is smallest there."""
    _, labels, teacher = make_inputs((2, 3, 4, 4))
    logits = torch.zeros_like(teacher, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    method = PseudoLabelTransfer(dice=0.0)
    for _ in range(400):
        optimiser.zero_grad()
        method(logits, make_batch(labels), teacher)["loss"].backward()
        optimiser.step()
    torch.testing.assert_close(logits.softmax(1), teacher.softmax(1), atol=0.01, rtol=0)


def test_the_rules_are_those_of_the_paper_unless_others_are_given():
    assert PseudoLabelTransfer().rules == (TargetPixels(alpha=256), GreyLevelEntropy(beta=2.5))
    assert PseudoLabelTransfer(exclude=[]).rules == ()
    given = [{"name": "grey_level_entropy", "beta": 3.0}, TargetPixels(alpha=10)]
    assert PseudoLabelTransfer(exclude=given).rules == (GreyLevelEntropy(beta=3.0), TargetPixels(alpha=10))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "softt"}, "unknown target 'softt'; did you mean 'soft'?"),
        ({"bce": -1}, "bce must be a number of 0 or more, got -1"),
        ({"bce": 0, "dice": 0}, "bce and dice are both 0; give one of them a weight above 0"),
        ({"exclude": [{"name": "targets"}]}, "unknown rule 'targets'; did you mean 'target_pixels'?"),
        ({"dynamic": {"tao": 0.9}}, "unknown option of selection dynamic 'tao'; did you mean 'tau'?"),
        ({"dynamic": {"tau": 2}}, "dynamic.tau must lie in 0..1, got 2"),
        (
            {"dynamic": {"epochs": 10, "until": 11}},
            "dynamic.until must be an epoch from 0 to dynamic.epochs (10)",
        ),
        ({"dynamic": {"epochs": 0}}, "dynamic.epochs must be a whole number of at least 1"),
        ({"dynamic": 0.95}, "dynamic must be null or a mapping such as {tau: 0.95}, got 0.95"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, said):
    with pytest.raises(ConfigError) as error:
        PseudoLabelTransfer(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_teacher_is_needed_that_fits():
    student, labels, _ = make_inputs((2, 3, 4, 4))
    with pytest.raises(ValueError, match="needs a teacher"):
        PseudoLabelTransfer()(student, make_batch(labels))
    with pytest.raises(TeacherError, match="the teacher has 2 classes, the student 3"):
        PseudoLabelTransfer()(student, make_batch(labels), torch.zeros(2, 2, 4, 4))


def sure(*foreground: float, size: int = 4) -> torch.Tensor:
    """Logits (B, 2, size, size) that say this much in a quarter of the image, and 0.01 elsewhere."""
    p = torch.full((len(foreground), size, size), 0.01)
    p[:, : size // 2, : size // 2] = torch.tensor(foreground).view(-1, 1, 1)
    return torch.stack([1 - p, p], dim=1).log()


def dynamic(**options) -> PseudoLabelTransfer:
    method = PseudoLabelTransfer(dynamic=options)
    method.prepare(Context(num_classes=2, epochs=10))
    method.on_epoch_start(0)
    return method


def step(method, teacher, student=None):
    student = torch.zeros_like(teacher) if student is None else student
    student = student.clone().requires_grad_()
    labels = torch.zeros(teacher.shape[0], *teacher.shape[2:]).long()
    return student, method(student, make_batch(labels), teacher)


def test_cases_below_the_threshold_have_no_part():
    """The loss is that of the first case alone, and the other has no gradient."""
    teacher = sure(0.99, 0.6)
    student, terms = step(dynamic(tau=0.9), teacher)
    _, alone = step(PseudoLabelTransfer(), teacher[:1])
    torch.testing.assert_close(terms, alone)
    slopes = gradient(terms["loss"], student)
    assert bool(slopes[0].any())
    assert not bool(slopes[1].any())


def test_nothing_selected_gives_a_loss_and_a_gradient_of_zero():
    student, terms = step(dynamic(tau=0.995), sure(0.9, 0.6))
    assert terms["loss"] == 0
    assert not gradient(terms["loss"], student).any()
    assert terms["loss"].requires_grad


def test_the_status_is_the_share_selected_in_the_epoch():
    method = dynamic(tau=0.9)
    step(method, sure(0.99, 0.6))
    step(method, sure(0.99, 0.98))
    assert method.status()["kept"] == 0.75
    method.on_epoch_start(1)
    assert method.status()["kept"] == 0.0
    with torch.no_grad():  # no training: it does not count
        method(torch.zeros(1, 2, 4, 4), make_batch(torch.zeros(1, 4, 4).long()), sure(0.99))
    assert method.status()["kept"] == 0.0
    assert PseudoLabelTransfer().status() == {}


def test_a_class_that_is_selected_half_as_often_needs_less():
    """A = 1/2: tau / 3 in the next epoch; 0.6 is enough then, and the empty mask needs 0.9."""
    method = dynamic(tau=0.9, epochs=100_000)  # the teacher alone
    empty = sure(0.01, 0.01)
    step(method, torch.cat([empty, sure(0.99, 0.6)]))
    assert method.status()["kept"] == 0.75
    method.on_epoch_start(1)
    step(method, torch.cat([empty, sure(0.99, 0.6)]))
    assert method.status()["kept"] == 1.0


def test_an_epoch_without_a_class_asks_nothing_of_it():
    method = dynamic(tau=0.9, epochs=100_000)
    step(method, sure(0.01))
    method.on_epoch_start(1)
    step(method, sure(0.51))
    assert method.status()["kept"] == 1.0


@pytest.mark.parametrize(("epoch", "kept"), [(0, 1.0), (7, 0.0)])
def test_first_the_teacher_decides_and_in_the_end_the_student(epoch, kept):
    """The student, who knows nothing, says 1/2 of an empty mask."""
    method = dynamic(tau=0.9)
    method.on_epoch_start(epoch)
    step(method, sure(0.99))
    assert method.status() == {
        "kept": kept,
        "teacher_share": pytest.approx(0.9826 if epoch == 0 else 0, abs=1e-4),
    }


def test_logits_are_mixed_not_probabilities():
    """a = 1 - exp(-5 (6/10 - 1)^2) in epoch 5."""
    method = dynamic(tau=0.9)
    method.on_epoch_start(5)
    a = method.status()["teacher_share"]
    assert a == pytest.approx(1 - 2.718281828 ** (-0.8))
    teacher, student = sure(0.99), sure(0.8)
    confidence = (a * teacher + (1 - a) * student).softmax(1)[0, 1, 0, 0]
    for tau, kept in ((float(confidence) - 1e-4, 1.0), (float(confidence) + 1e-4, 0.0)):
        method = dynamic(tau=tau)
        method.on_epoch_start(5)
        step(method, teacher, student)
        assert method.status()["kept"] == kept


def test_a_resumed_training_selects_as_an_uninterrupted_one():
    batches = [make_inputs((6, 3, 5, 5), seed=seed) for seed in range(4)]

    def epoch(method, number):
        method.on_epoch_start(number)
        losses = []
        for student, labels, teacher in batches:
            losses.append(method(student.requires_grad_(), make_batch(labels), 3 * teacher)["loss"].item())
        return losses, dict(method.status())

    whole = PseudoLabelTransfer(dynamic={"tau": 0.9})
    whole.prepare(Context(num_classes=3, epochs=4))
    expected = [epoch(whole, number) for number in range(4)]
    broken = PseudoLabelTransfer(dynamic={"tau": 0.9})
    broken.prepare(Context(num_classes=3, epochs=4))
    found = [epoch(broken, number) for number in range(2)]
    resumed = PseudoLabelTransfer(dynamic={"tau": 0.9})
    resumed.load_state_dict(broken.state_dict())
    found += [epoch(resumed, number) for number in (2, 3)]
    assert found == expected
    assert len({status["kept"] for _, status in found}) > 1


def test_processes_count_together(monkeypatch):
    """What one process selects is added to what another one does: here two sure cases and two unsure ones."""
    from meddistill.methods import selection

    method = dynamic(tau=0.9, epochs=100_000)
    monkeypatch.setattr(selection.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(
        selection.distributed, "all_reduce", lambda own: own.add_(torch.tensor([2.0, 0, 4.0]))
    )
    step(method, sure(0.99))
    assert method.status()["kept"] == 3 / 5
    method.on_epoch_start(1)
    step(method, sure(0.5 + 1e-3))  # A = 1/2: 0.3 is enough
    assert method.status()["kept"] == 3 / 5


def test_a_training_in_which_nothing_was_ever_selected_is_stopped():
    from meddistill.errors import RunError

    method = dynamic(tau=0.995)
    step(method, sure(0.9))
    with pytest.raises(
        RunError, match=r"no case was confident enough .* before epoch 1; lower dynamic.tau \(0.995\)"
    ):
        method.on_epoch_start(1)


def test_a_later_epoch_without_any_case_is_not():
    method = dynamic(tau=0.9, epochs=100_000)
    step(method, sure(0.99))
    method.on_epoch_start(1)
    step(method, sure(0.6))
    method.on_epoch_start(2)
    assert method.status()["kept"] == 0.0


def test_without_prepare_the_length_must_be_given():
    with pytest.raises(ValueError, match=r"call prepare first, or give dynamic\.epochs"):
        PseudoLabelTransfer(dynamic={}).on_epoch_start(0)
    method = PseudoLabelTransfer(dynamic={"epochs": 160, "until": 120})
    method.on_epoch_start(119)
    assert method.status()["teacher_share"] == pytest.approx(0.2684, abs=1e-4)
    method.on_epoch_start(120)
    assert method.status()["teacher_share"] == 0


def test_answers_for_whole_images_are_learnt_as_well():
    student, _, teacher = make_inputs((4, 3))
    terms = PseudoLabelTransfer(dice=0.0, exclude=[])(student, make_batch(torch.zeros(4)), teacher)
    expected = F.cross_entropy(student, teacher.softmax(1))
    torch.testing.assert_close(terms["loss"], expected)
