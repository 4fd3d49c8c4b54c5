"""`meddistill bench`: the parts of a step, what they add up to, and what is advised."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.cli import run
from meddistill.errors import ConfigError
from meddistill.training import clock
from meddistill.training.assembly import assemble
from meddistill.training.bench import Bench, bench
from meddistill.training.bench_advice import advice
from meddistill.training.bench_text import render
from meddistill.training.clock import PARTS, StepClock, shares
from meddistill.training.fit import fit
from meddistill.training.memory import PeakMemory
from meddistill.training.module import DistillationModule
from meddistill.training.steps import StepLoop
from tests.mistakes import snapshot, the_line
from tests.recipes import PACED, tiny_recipe, write_recipe


@pytest.fixture(scope="module")
def printed(teacher_run, tmp_path_factory) -> tuple[str, dict]:
    """What the command prints and writes for a student that is taught, with a worker."""
    place = tmp_path_factory.mktemp("bench")
    recipe = write_recipe(place, teacher={"path": str(teacher_run.root)}, method=PACED)
    before = snapshot(place)
    options = ["--steps", "4", "--training.workers", "1", "--json", str(place / "found.json")]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(["bench", str(recipe), *options]) == 0
    assert set(snapshot(place)) == {*before, "found.json"}
    return out.getvalue(), json.loads((place / "found.json").read_text())


def test_every_part_of_every_step_is_measured(printed):
    _, found = printed
    assert list(found["parts"]) == list(PARTS)
    assert len(found["seconds_per_step"]) == 4
    for step in found["seconds_per_step"]:
        assert set(step) == set(PARTS)
        assert min(step.values()) >= 0.0
        assert min(step[part] for part in ("teacher", "student", "loss", "backward", "optimiser")) > 0.0


def test_the_parts_add_up_to_the_whole_step(printed):
    _, found = printed
    assert sum(part["share"] for part in found["parts"].values()) == pytest.approx(1.0)
    wholes = [sum(step.values()) for step in found["seconds_per_step"]]
    assert min(wholes) <= found["step"]["median"] <= max(wholes)
    assert found["images_per_step"] == 4
    assert found["images_per_second"] == pytest.approx(4 * 4 / sum(wholes))
    for name, part in found["parts"].items():
        values = [step[name] for step in found["seconds_per_step"]]
        assert min(values) <= part["quarter"] <= part["median"] <= part["three_quarters"] <= max(values)


def test_the_memory_of_process_and_workers_is_told(printed):
    text, found = printed
    memory = found["peak_memory"]
    assert 50 * 2**20 < memory["process"] < 2**36
    assert memory["device"] is None
    if Path("/proc/self").exists():
        assert 2**20 < memory["workers"] < 2**36
    assert "MB in this process" in text


def test_the_table_names_the_parts_and_ends_in_one_sentence(printed):
    text, _ = printed
    for words in ("waiting for data", "moving to the device", "teacher", "student forward", "whole step"):
        assert f"\n{words} " in text
    assert "tiny: 4 images of 32x32 a step, cpu" in text
    last = text.splitlines()[-1]
    assert " % of a step" in last
    assert last.endswith(".")


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"method": {"name": "distillation"}}, [], "tiny needs a teacher"),
        ({"training": {"batch_size": 0}}, [], "training.batch_size"),
        ({}, ["--training.epoch", "3"], "did you mean 'epochs'"),
        ({}, ["--row", "kd"], "has no study rows"),
        ({}, ["--steps", "1"], "--steps"),
        ({}, ["--steps", "2", "--json", "/proc/nowhere/found.json"], "cannot write"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capfd, changes, options, said):
    recipe = write_recipe(tmp_path, **changes)
    before = snapshot(tmp_path)
    assert run(["bench", str(recipe), *options]) == 2
    out, err = capfd.readouterr()
    assert said in the_line(out, "\n".join(line for line in err.splitlines() if line[:7] != "bench: "))
    assert snapshot(tmp_path) == before


def test_the_steps_are_those_of_a_training(tmp_path, monkeypatch):
    """The same batches give the same losses, one by one, until the first batch that is too small."""
    recipe = tiny_recipe(training={"batch_size": 5, "epochs": 1, "gradient_clip": 0.5})
    losses: list[float] = []
    step = DistillationModule.training_step

    def noted(self, batch, index):
        loss = step(self, batch, index)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(DistillationModule, "training_step", noted)
    fit(recipe, tmp_path / "run")
    trained, losses = losses, []
    loop = StepLoop(assemble(recipe))
    assert [loop.step() for _ in range(4)] == [5, 5, 5, 5]
    assert losses[:2] == trained[:2]
    assert len(trained) == 3  # 16 cases: the last of them join the third batch
    assert losses[2:] != trained[2:]


def test_of_several_devices_one_takes_its_part_of_the_batch():
    loop = StepLoop(assemble(tiny_recipe(training={"devices": 2, "accelerator": "cpu"})))
    assert loop.step() == 2


def test_a_loss_that_is_not_finite_ends_the_measuring():
    with pytest.raises(Exception, match="the loss became"):
        bench(tiny_recipe(training={"lr": 1e30, "optimizer": "sgd"}), steps=20)


class Ticks:
    """A clock that is only moved by hand."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


durations = st.floats(0.0, 10.0).map(lambda seconds: round(seconds, 6))


@given(st.lists(st.lists(st.tuples(st.sampled_from(PARTS[:-1]), durations), max_size=6), min_size=1))
def test_what_is_noted_adds_up(work):
    """Whatever is done in which order: the parts, with what lies between them, are the whole."""
    ticks = Ticks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "time", ticks)
        measured = StepClock(torch.device("cpu"))
        for parts in work:
            with measured.step():
                ticks.now += 0.5
                for name, seconds in parts:
                    with measured.part(name):
                        ticks.now += seconds
    for step, parts in zip(measured.steps, work, strict=True):
        assert step["other"] == pytest.approx(0.5)
        for name in PARTS[:-1]:
            assert step[name] == pytest.approx(sum(seconds for part, seconds in parts if part == name))
    assert sum(shares(measured.steps).values()) == pytest.approx(1.0)


def made(recipe, seconds: dict[str, float], device: str = "cpu") -> Bench:
    step = dict.fromkeys(PARTS, 0.0) | seconds
    return Bench(recipe, device, 4, (step, step), PeakMemory(2**30, 3 * 2**20, None))


def test_a_slow_part_now_and_then_counts_in_the_share():
    """Half of the steps wait for nothing, the median says 0, and yet most of the time goes there."""
    quick, slow = ({"data": wait, "student": 1.0} for wait in (0.0, 8.0))
    found = Bench(tiny_recipe(), "cpu", 4, (quick, slow, quick), PeakMemory(None, None, None))
    assert shares(found.steps)["data"] == pytest.approx(8 / 11)
    assert found.images_per_second == pytest.approx(12 / 11)


CORES = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("seconds", "training", "said"),
    [
        ({"teacher": 61, "student": 39}, {}, "The teacher takes 61 % of a step: store its outputs"),
        ({"data": 3, "backward": 1}, {}, "Waiting for data takes 75 % of a step: try --training.workers 1."),
        (
            {"student": 2, "backward": 2},
            {"precision": "bf16"},
            "takes 100 % of a step: try --training.channels",
        ),
        ({"backward": 1}, {"precision": "bf16", "channels_last": True}, ": try --training.compile true."),
        ({"other": 3, "loss": 1}, {}, "What surrounds the networks takes 75 % of a step: larger batches"),
        (
            {"data": 8, "teacher": 2},
            {"workers": CORES},
            "takes 80 % of a step; most is to be gained at the t",
        ),
        (
            {"student": 6, "teacher": 4},
            {"precision": "bf16", "channels_last": True},
            "at the teacher, 40 %: st",
        ),
        ({"loss": 98, "teacher": 2}, {}, "The loss takes 98 % of a step; no switch would change much"),
    ],
)
def test_the_sentence_names_the_largest_part_and_a_key(seconds, training, said):
    recipe = tiny_recipe(training=training, teacher={"mode": "live"})
    total = sum(seconds.values())
    assert said in advice({part: value / total for part, value in seconds.items()}, recipe)


@given(st.fixed_dictionaries({part: st.floats(0.0, 1.0) for part in PARTS}))
def test_there_is_always_one_sentence(sizes):
    whole = sum(sizes.values()) or 1.0
    words = advice({part: size / whole for part, size in sizes.items()}, tiny_recipe())
    assert words.endswith(".")
    assert "\n" not in words
    assert "% of a step" in words


def test_bf16_is_advised_where_it_is_fast(monkeypatch):
    monkeypatch.setattr("meddistill.training.bench_advice.has_fast_bf16", lambda _: True)
    words = advice({"student": 1.0}, tiny_recipe(training={"precision": "32"}))
    assert words.endswith("try --training.precision bf16.")


def test_on_an_accelerator_the_table_says_that_parts_were_waited_for():
    assert "Each part was waited for" in render(made(tiny_recipe(), {"student": 1.0}, "cuda:0"))
    text = render(made(tiny_recipe(), {"student": 1.0}))
    assert "waited for;" not in text
    assert "peak memory 1024 MB in this process, 3 MB in its workers" in text


def test_a_missing_teacher_is_refused_in_python_too():
    with pytest.raises(ConfigError, match="needs a teacher"):
        bench(tiny_recipe(method={"name": "distillation"}))
