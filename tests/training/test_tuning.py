"""`--auto-tune` in a run: what is written, what a resumed run does, and that nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import torch
import yaml
from safetensors.torch import load_file

from meddistill.cli import run as command
from meddistill.errors import ConfigError, RunError
from meddistill.files import write_json, write_text
from meddistill.training import fit as fitting
from meddistill.training.clock import Spread
from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import PlannedRun, plan_study, run_study
from meddistill.training.study_tuning import RowTuning
from meddistill.training.switches import with_values
from meddistill.training.trial import Trial, Tuning
from meddistill.training.tuning import tune, with_stored_choice
from tests.mistakes import snapshot, the_line
from tests.recipes import tiny_recipe, write_recipe
from tests.studies import train_here

CHOSEN = {"training.channels_last": True, "training.workers": 1}
TUNING = Tuning(
    seconds=60.0,
    before={"training.channels_last": False, "training.workers": 0},
    chosen=CHOSEN,
    noise=Spread(1.0, 0.99, 1.02),
    trials=(
        Trial("training.channels_last", False, True, True, Spread(0.7, 0.69, 0.72), 9, "kept"),
        Trial("training.workers", 0, 1, True, Spread(0.9, 0.89, 0.92), 9, "kept"),
        Trial("training.compile", False, True, note="failed: took longer than the 20 s that were left"),
    ),
)


@pytest.fixture
def tuned(monkeypatch) -> list[float]:
    """Makes every tuning end as `TUNING`; the seconds that each was given."""
    asked: list[float] = []

    def known(_, seconds, *, say):
        asked.append(seconds)
        return TUNING

    monkeypatch.setattr(fitting, "tune", known)
    return asked


def same_weights(one: RunFolder, other: RunFolder) -> bool:
    first, second = load_file(one.last_weights), load_file(other.last_weights)
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_choice_is_part_of_the_run(tmp_path, tuned):
    run = fit(tiny_recipe(), tmp_path / "run", auto_tune=30.0)
    assert tuned == [30.0]
    training = yaml.safe_load(run.config.read_text())["training"]
    assert (training["channels_last"], training["workers"]) == (True, 1)
    written = read_json(run.tuning)
    assert written["chosen"] == CHOSEN
    assert written["noise"] == {"median": 1.0, "quarter": 0.99, "three_quarters": 1.02}
    assert written["trials"][0]["ratio"]["median"] == 0.7
    assert written["trials"][2]["ratio"] is None
    assert "20 s" in written["trials"][2]["note"]


def test_a_tuned_run_trains_as_one_that_was_given_the_same_values(tmp_path, tuned):
    changes = {"data": {"augment": "light"}}
    found = fit(tiny_recipe(**changes), tmp_path / "tuned", auto_tune=30.0)
    plain = fit(with_values(tiny_recipe(**changes), CHOSEN), tmp_path / "plain")
    assert same_weights(found, plain)
    assert not plain.tuning.exists()


def half_done(whole: RunFolder, place) -> RunFolder:
    """The run as if it had been killed just before its end was written."""
    shutil.copytree(whole.root, place)
    folder = RunFolder(place)
    folder.write_state(state="running")
    return folder


@pytest.mark.parametrize("seconds", [None, 30.0], ids=["without the flag", "with the flag"])
def test_a_resumed_run_keeps_its_choice(tmp_path, tuned, seconds):
    whole = fit(tiny_recipe(), tmp_path / "whole", auto_tune=30.0)
    tuned.clear()
    left = half_done(whole, tmp_path / "left")
    fit(tiny_recipe(), left.root, resume=True, auto_tune=seconds)
    assert not tuned
    assert left.finished
    assert same_weights(left, whole)
    assert left.config.read_text() == whole.config.read_text()
    assert fit(tiny_recipe(), whole.root, resume=True, auto_tune=seconds) == whole


@pytest.mark.parametrize("training", [{"lr": 0.5}, {"workers": 2}])
def test_a_resumed_run_with_another_recipe_is_refused(tmp_path, tuned, training):
    whole = fit(tiny_recipe(training={"epochs": 1}), tmp_path / "run", auto_tune=30.0)
    with pytest.raises(RunError, match="another recipe"):
        fit(tiny_recipe(training={"epochs": 1, **training}), whole.root, resume=True, auto_tune=30.0)


def test_a_run_that_was_not_tuned_goes_on_untuned(tmp_path, tuned):
    left = half_done(fit(tiny_recipe(), tmp_path / "whole"), tmp_path / "left")
    fit(tiny_recipe(), left.root, resume=True, auto_tune=30.0)
    assert not tuned
    assert not left.tuning.exists()


def test_being_interrupted_while_tuning_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("meddistill.training.tuning.search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny_recipe(), tmp_path / "run", auto_tune=30.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--auto-tune", "0.5"], "--auto-tune"),
        (["--auto-tune", "inf"], "a number of seconds above 0, not inf"),
        (["--auto-tune=soon"], "--auto-tune"),
        (["--auto-tune", "--training.devices", "2"], "auto-tune measures one device"),
    ],
)
def test_a_tuning_that_cannot_be_is_one_line(tmp_path, capfd, options, said):
    recipe = write_recipe(tmp_path)
    before = snapshot(tmp_path)
    assert command(["train", str(recipe), "-o", str(tmp_path / "out"), *options]) == 2
    assert said in the_line(*capfd.readouterr())
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_the_time_is_checked_in_python_too(seconds):
    with pytest.raises(ConfigError, match="seconds above 0"):
        tune(tiny_recipe(), seconds)


@pytest.mark.parametrize(("options", "seconds"), [(["--auto-tune"], 60.0), (["--auto-tune", "7"], 7.0)])
def test_the_flag_may_stand_alone(tmp_path, capfd, monkeypatch, options, seconds):
    asked = []

    def noted(_, __, *, auto_tune, **others):
        asked.append(auto_tune)
        raise RunError("far enough")

    monkeypatch.setattr(fitting, "fit", noted)
    words = ["train", str(write_recipe(tmp_path)), *options, "--training.lr", "0.01", "-o", "out"]
    assert command(words) == 2
    assert the_line(*capfd.readouterr()) == "error: far enough"
    assert asked == [seconds]


def test_a_damaged_record_is_refused(tmp_path):
    folder = RunFolder(tmp_path)
    for broken in ("{}", '{"before": {"training.speed": 1}, "chosen": {}}', "[]", "{"):
        write_text(folder.tuning, broken)
        with pytest.raises(RunError, match=r"tuning\.json"):
            with_stored_choice(folder, tiny_recipe())


@pytest.mark.slow
def test_a_real_tuning_tries_trains_and_ends(tmp_path, capfd, monkeypatch, teacher_run):
    """On a machine without a compiler, which costs only the trials that need one."""
    monkeypatch.setenv("CXX", "/bin/false")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    teacher = {"path": str(teacher_run.root), "precision": "32"}
    training = {"epochs": 1, "precision": "32"}
    recipe = write_recipe(tmp_path, teacher=teacher, method={"name": "distillation"}, training=training)
    run = RunFolder(tmp_path / "out")
    assert command(["train", str(recipe), "--auto-tune", "120", "-o", str(run.root)]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("auto-tune: ")]
    written = read_json(run.tuning)
    assert len(lines) == len(written["trials"]) + 2
    trials = {trial["key"]: trial for trial in written["trials"]}
    assert not any("precision" in key for key in trials)
    assert "torch.compile failed" in trials["training.compile"]["note"]
    layout = trials["training.channels_last"]
    assert 0.0 < layout["ratio"]["quarter"] <= layout["ratio"]["median"] <= layout["ratio"]["three_quarters"]
    assert layout["kept"] == ("training.channels_last" in written["chosen"])
    for trial in trials.values():
        assert not trial["kept"] or trial["ratio"]["median"] < 0.97
    config = yaml.safe_load(run.config.read_text())
    for key, value in written["chosen"].items():
        section, _, name = key.partition(".")
        assert config[section][name] == value
    own = ["ps", "-o", "args=", "--ppid", str(os.getpid())]
    assert "training.trials" not in subprocess.run(own, capture_output=True, text=True).stdout


# Studies


def planned(place, row: str, seed: int) -> PlannedRun:
    return PlannedRun(row, seed, tiny_recipe(seed=seed), place / f"{row}-s{seed}")


def begun(run: PlannedRun, *, tuned: bool) -> None:
    folder = RunFolder(run.folder)
    write_text(folder.config, "name: tiny\n")
    if tuned:
        write_json(folder.tuning, TUNING.to_json())


@pytest.fixture
def row(tmp_path) -> list[PlannedRun]:
    return [planned(tmp_path, name, seed) for name, seed in (("a", 0), ("a", 1), ("b", 0))]


def test_the_first_run_of_a_row_is_tuned_and_the_others_follow(row):
    first, second, other = row
    tuning = RowTuning(row, 30.0)
    assert tuning.settle(first) == (first.recipe, ["--auto-tune", "30.0"])
    assert tuning.must_wait(second, [first, other])
    assert not tuning.must_wait(second, [other])
    begun(first, tuned=True)
    assert not tuning.must_wait(second, [first, other])
    assert tuning.settle(second) == (with_values(second.recipe, CHOSEN), [])
    assert tuning.settle(first) == (first.recipe, [])
    assert tuning.settle(other) == (other.recipe, ["--auto-tune", "30.0"])


def test_a_choice_holds_when_the_study_goes_on_without_the_flag(row):
    begun(row[0], tuned=True)
    assert RowTuning(row, None).settle(row[1]) == (with_values(row[1].recipe, CHOSEN), [])


def test_a_row_that_was_begun_untuned_stays_untuned(row):
    begun(row[0], tuned=False)
    assert RowTuning(row, 30.0).settle(row[1]) == (row[1].recipe, [])
    assert RowTuning(row, 30.0).settle(row[0]) == (row[0].recipe, [])


def test_a_study_tunes_once_for_each_row(tmp_path, tuned, monkeypatch):
    train_here(monkeypatch)
    study = {"rows": {"a": {}}, "baseline": "a", "seeds": [0, 1]}
    recipe = write_recipe(tmp_path, study=study, training={"epochs": 1})
    _, runs = plan_study(str(recipe), tmp_path / "out")
    run_study(runs, tmp_path / "out", auto_tune=9.0, say=lambda _: None)
    assert tuned == [9.0]
    for run in runs:
        training = yaml.safe_load(RunFolder(run.folder).config.read_text())["training"]
        assert (training["channels_last"], training["workers"]) == (True, 1)
