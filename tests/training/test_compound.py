"""Students of several branches: trained, resumed, scored and used from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from meddistill.cli import run as command
from meddistill.deploy.predict import predict
from meddistill.errors import ConfigError, RunError
from meddistill.models import branches_of, load_model
from meddistill.training.assembly import assemble
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import read_json
from meddistill.training.steps import StepLoop
from tests.data.builders import busi_tree
from tests.recipes import tiny_recipe, write_recipe

FORMS = {
    "mixed": ("dual_decoder", ("lower", "upper"), {}),
    "mean_teacher": ("mean_teacher", ("teacher", "student"), {"ramp_epochs": 3}),
    "cross_pseudo": ("twin", ("first", "second"), {"ramp_epochs": 3}),
    "co_teaching": ("twin", ("first", "second"), {"ramp_epochs": 3}),
}


def recipe_of(method: str, **training):
    return tiny_recipe(method={"name": method, **FORMS[method][2]}, training={"epochs": 4, **training})


@pytest.mark.parametrize("method", FORMS)
def test_an_interrupted_run_ends_with_the_weights_of_a_whole_one(tmp_path, monkeypatch, method):
    whole = fit(recipe_of(method), tmp_path / "whole")
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 2:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(recipe_of(method), tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    parts = fit(recipe_of(method), tmp_path / "parts", resume=True)
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert read_json(parts.model)["form"] == FORMS[method][0]
    spec, network = load_model(parts.weights)
    assert spec.form == FORMS[method][0]
    assert branches_of(network) == FORMS[method][1]


def test_the_average_moves_once_in_every_step(tmp_path):
    run = fit(recipe_of("mean_teacher", epochs=2), tmp_path / "run")
    weights = load_file(run.last_weights)
    assert int(weights["updates"]) == 2 * 4  # 16 cases in batches of 4
    moved = [name for name in weights if name.startswith("student.") and name.endswith("weight")]
    pairs = [(weights[name], weights[name.replace("student.", "teacher.", 1)]) for name in moved]
    assert any(not torch.equal(*pair) for pair in pairs)
    optimised = torch.load(run.checkpoint, weights_only=True)["optimizer_states"][0]["state"]
    student = [name for name in weights if name.startswith("student.") and "running" not in name]
    assert len(optimised) == len([name for name in student if "num_batches" not in name])


def test_the_measured_step_moves_the_average_too():
    loop = StepLoop(assemble(recipe_of("mean_teacher")))
    for _ in range(3):
        loop.step()
    assert int(loop.task.student.updates) == 3


@pytest.fixture(scope="module")
def run_of_two_branches(tmp_path_factory):
    return fit(recipe_of("mixed", epochs=2), tmp_path_factory.mktemp("mixed") / "run")


def test_every_branch_is_scored(run_of_two_branches):
    run = run_of_two_branches
    summary = evaluate(run.root)
    assert list(summary["branches"]) == ["upper"]
    assert summary["branches"]["upper"]["metrics"].keys() == summary["metrics"].keys()
    tables = [path.read_text() for path in (run.scores(), run.scores("test", "upper"))]
    assert run.scores("test", "upper").name == "test-scores-upper.csv"
    assert tables[0] != tables[1]
    assert [len(table.splitlines()) for table in tables] == [5, 5]
    assert json.loads(run.summary().read_text()) == summary


def test_a_student_of_one_branch_has_no_others(teacher_run):
    assert "branches" not in evaluate(teacher_run.root)


def test_masks_of_either_branch_can_be_had(tmp_path, run_of_two_branches):
    images = busi_tree(tmp_path / "images", per_class=2)
    run = run_of_two_branches.root

    def masks(folder: str, **options) -> list[np.ndarray]:
        return [np.asarray(Image.open(path)) for path in predict(run, images, tmp_path / folder, **options)]

    first, lower, upper = masks("a"), masks("b", branch="lower"), masks("c", branch="upper")
    assert all(np.array_equal(*pair) for pair in zip(first, lower, strict=True))
    assert any(not np.array_equal(*pair) for pair in zip(first, upper, strict=True))
    with pytest.raises(ConfigError, match="unknown branch 'uper'; did you mean 'upper'"):
        masks("d", branch="uper")


def test_a_student_of_one_branch_refuses_the_name_of_another(tmp_path, teacher_run):
    images = busi_tree(tmp_path / "images", per_class=1)
    with pytest.raises(ConfigError, match="unknown branch 'upper'; there are none"):
        predict(teacher_run.root, images, tmp_path / "masks", branch="upper")


def test_the_command_line_goes_the_whole_way(tmp_path: Path, capsys):
    recipe = write_recipe(tmp_path, method={"name": "mixed"}, training={"epochs": 1})
    assert command(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "\ntest upper branch dice " in said
    assert "Test split, upper branch of the student" in (tmp_path / "run" / "report.html").read_text()
    images = busi_tree(tmp_path / "images", per_class=1)
    options = ["--out", str(tmp_path / "masks"), "--branch", "upper"]
    assert command(["predict", str(tmp_path / "run"), str(images), *options]) == 0
