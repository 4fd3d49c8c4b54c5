"""Averages of weights: the mean itself, batch normalisation afterwards, and whole runs."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from meddistill.errors import ConfigError, RunError
from meddistill.training.averaging import WeightAverage, first_epoch, recompute_batch_norm
from meddistill.training.callbacks import Recorder
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder
from tests.recipes import tiny_recipe


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 2, 1)
    )


def shifted(seed: int) -> nn.Module:
    made = network(seed)
    made[1].running_mean.fill_(float(seed))
    return made.double()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_swa_is_the_arithmetic_mean_of_the_weights(seeds):
    average, theirs = WeightAverage("swa"), AveragedModel(shifted(seeds[0]))
    for seed in seeds:
        average.update(shifted(seed))
        theirs.update_parameters(shifted(seed))
    stacked = [torch.stack(parts) for parts in zip(*(shifted(s).parameters() for s in seeds), strict=True)]
    for found, parts, other in zip(
        average.network.parameters(), stacked, theirs.module.parameters(), strict=True
    ):
        torch.testing.assert_close(found, parts.mean(0))
        torch.testing.assert_close(found, other)
    assert average.count == len(seeds)
    assert torch.equal(average.network[1].running_mean, shifted(seeds[-1])[1].running_mean)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.floats(0.1, 0.99))
def test_ema_follows_its_recurrence(seeds, decay):
    average, expected = WeightAverage("ema", decay), None
    for seed in seeds:
        average.update(shifted(seed))
        weights = [p.detach() for p in shifted(seed).parameters()]
        if expected is None:
            expected = weights
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights, strict=True)]
    for found, wanted in zip(average.network.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_a_saved_average_goes_on(kind):
    whole, part = WeightAverage(kind, 0.9), WeightAverage(kind, 0.9)
    for seed in range(2):
        whole.update(shifted(seed))
        part.update(shifted(seed))
    resumed = WeightAverage(kind, 0.9)
    resumed.load_state_dict(copy.deepcopy(part.state_dict()), shifted(9))
    for average in (whole, resumed):
        average.update(shifted(5))
    assert whole.count == resumed.count == 3
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_average_of_nothing():
    average = WeightAverage("swa")
    with pytest.raises(ValueError, match="nothing was averaged yet"):
        _ = average.network
    average.load_state_dict(average.state_dict(), network())
    assert average.count == 0


def test_the_average_has_no_gradient_and_leaves_the_student_alone():
    student, average = network().train(), WeightAverage("swa")
    before = [p.clone() for p in student.parameters()]
    for _ in range(2):
        average.update(student)
    assert student.training
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, student.parameters(), strict=True))
    assert all(p.requires_grad for p in student.parameters())


def test_batch_normalisation_gets_the_statistics_of_all_batches():
    made, batches = network().eval(), [torch.randn(6, 1, 8, 8) + shift for shift in range(4)]
    recompute_batch_norm(made, made, batches)
    hidden = made[0](torch.cat(batches))
    torch.testing.assert_close(made[1].running_mean, hidden.mean((0, 2, 3)))
    variances = torch.stack([made[0](batch).var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(made[1].running_var, variances)
    theirs = nn.Sequential(*copy.deepcopy(made)[:2])
    update_bn(batches, theirs)
    torch.testing.assert_close(theirs[1].running_var, made[1].running_var)
    assert (made[1].training, made[1].momentum) == (False, 0.1)


def test_without_batch_normalisation_nothing_is_run():
    made = nn.Conv2d(1, 2, 1)
    recompute_batch_norm(made, lambda _: pytest.fail("was run"), [torch.zeros(1, 1, 4, 4)])


def test_a_failing_batch_leaves_the_layers_as_they_were():
    made = network().eval()
    with pytest.raises(RuntimeError):
        recompute_batch_norm(made, made, [torch.zeros(2, 5, 4, 4)])
    assert (made[1].training, made[1].momentum) == (False, 0.1)


@given(st.floats(0, 0.999), st.integers(1, 300))
def test_at_least_the_last_epoch_is_averaged(start, epochs):
    first = first_epoch(start, epochs)
    assert 0 <= first < epochs
    assert first <= start * epochs + 1


def averaged(kind: str = "swa", **changes):
    average = {"kind": kind, "start": 0.5, "decay": 0.8}
    training = {"epochs": 4, "average": average, **changes.pop("training", {})}
    return tiny_recipe(training=training, **changes)


@pytest.fixture
def students(monkeypatch):
    """The weights of the plain student, and whether it is the one that is scored, after every epoch."""
    seen, write = [], Recorder._write_weights

    def watched(self, module, *, chosen):
        seen.append(
            (
                {n: v.clone() for n, v in module.student.state_dict().items()},
                module.evaluated is module.student,
            )
        )
        write(self, module, chosen=chosen)

    monkeypatch.setattr(Recorder, "_write_weights", watched)
    return seen


def test_a_run_keeps_the_mean_of_its_last_epochs(tmp_path, students):
    run = fit(averaged(), tmp_path / "run")
    assert [plain for _, plain in students] == [True, True, False, False]
    kept = load_file(run.last_weights)
    for name, value in kept.items():
        if not any(part in name for part in ("running", "num_batches")):
            torch.testing.assert_close(value, (students[2][0][name] + students[3][0][name]) / 2)
    moved = [n for n in kept if n.endswith("running_mean")]
    assert moved
    assert any(not torch.equal(kept[name], students[3][0][name]) for name in moved)
    assert evaluate(run.root)["metrics"]


def test_a_moving_average_has_the_statistics_of_the_student(tmp_path, students):
    run = fit(averaged("ema"), tmp_path / "run")
    assert [plain for _, plain in students] == [True, True, False, False]
    kept, student = load_file(run.last_weights), students[3][0]
    weights = [name for name in kept if name.endswith("weight")]
    assert any(not torch.equal(kept[name], student[name]) for name in weights)
    assert all(torch.equal(kept[n], student[n]) for n in kept if n.endswith("running_mean"))


@pytest.mark.parametrize("kind", ["swa", "ema"])
@pytest.mark.parametrize("stopped_in", [1, 3])
def test_an_interrupted_run_ends_with_the_weights_of_a_whole_one(tmp_path, monkeypatch, kind, stopped_in):
    whole = fit(averaged(kind), tmp_path / "whole")
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == stopped_in:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(averaged(kind), tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    parts = fit(averaged(kind), tmp_path / "parts", resume=True)
    for name in ("last_weights", "weights"):
        assert getattr(parts, name).read_bytes() == getattr(whole, name).read_bytes()


def test_averaging_changes_nothing_in_the_training_itself(tmp_path):
    def losses(run: RunFolder) -> list[str]:
        rows = [line.split(",") for line in run.history.read_text().splitlines()]
        return [row[rows[0].index("train_loss")] for row in rows]

    plain = fit(tiny_recipe(training={"epochs": 4}), tmp_path / "plain")
    assert losses(fit(averaged(), tmp_path / "averaged")) == losses(plain)


@pytest.mark.parametrize("method", ["mixed", "cross_pseudo"])
def test_students_of_several_branches_are_averaged_as_a_whole(tmp_path, students, method):
    run = fit(averaged(method={"name": method}), tmp_path / "run")
    kept = load_file(run.last_weights)
    for name in (name for name in kept if name.endswith("weight")):
        torch.testing.assert_close(kept[name], (students[2][0][name] + students[3][0][name]) / 2)


@pytest.mark.parametrize(
    ("average", "words"),
    [
        ({"kind": "sma"}, r"training\.average\.kind"),
        ({"kind": "swa", "start": 1.0}, r"training\.average\.start: .*less than 1"),
        ({"kind": "ema", "decay": 1.5}, r"training\.average\.decay"),
        ({"kind": "ema", "dekay": 0.9}, "did you mean 'decay'"),
    ],
)
def test_impossible_averages_are_refused(average, words):
    with pytest.raises(ConfigError, match=words):
        tiny_recipe(training={"average": average})
