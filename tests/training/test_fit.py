from __future__ import annotations

import csv
import math

import pytest
import torch
from safetensors.torch import load_file

from meddistill.config.load import check_recipe
from meddistill.errors import ConfigError, RunError, TeacherError
from meddistill.evaluation import Gallery
from meddistill.files import write_json
from meddistill.training.claim import claimed, is_first_process
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder, read_json
from tests.recipes import PACED, tiny, tiny_recipe


def history(run: RunFolder) -> list[dict[str, str]]:
    with open(run.history, newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_fills_its_folder(teacher_run):
    rows = history(teacher_run)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(math.isfinite(float(row["train_loss"])) for row in rows)
    state = teacher_run.read_state()
    assert state["state"] == "finished"
    assert state["epochs_done"] == 3
    dices = [float(row["selection_dice"]) for row in rows]
    assert state["best_epoch"] == dices.index(max(dices))
    environment = read_json(teacher_run.environment)
    assert environment["split_counts"] == {"train": 16, "selection": 4, "calibration": 4, "test": 4}
    assert len(environment["data_fingerprint"]) == 64
    assert list(teacher_run.tensorboard.glob("events*"))


def test_weights_of_the_best_and_the_last_epoch_are_kept(tmp_path):
    run = fit(tiny_recipe(training={"epochs": 4}), tmp_path / "run")
    checkpoint = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    last = load_file(run.last_weights)
    assert {f"student.{name}" for name in last} == set(checkpoint)
    assert all(torch.equal(value, checkpoint[f"student.{name}"]) for name, value in last.items())
    best = load_file(run.weights)
    same = all(torch.equal(best[name], last[name]) for name in last)
    assert same == (run.read_state()["best_epoch"] == 3)


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    weights = [
        load_file(fit(tiny_recipe(seed=seed, training={"epochs": 1}), tmp_path / name).last_weights)
        for seed, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_paced_run_records_pace_teacher_and_calibration(tmp_path, teacher_run):
    recipe = tiny_recipe(teacher={"path": str(teacher_run.root)}, method=PACED, training={"epochs": 5})
    run = fit(recipe, tmp_path / "run")
    thresholds = [float(row["threshold"]) for row in history(run)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > 0.0
    calibration = read_json(run.calibration)
    assert calibration["temperature"] > 0.0
    assert calibration["nll_after"] <= calibration["nll_before"]
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    assert all(name.startswith("student.") for name in checkpoint["state_dict"])
    assert read_json(run.model)["teacher_parameters"] > read_json(run.model)["parameters"]
    assert read_json(run.model)["macs"] > read_json(run.model)["parameters"]
    assert read_json(run.model)["self_distillation"] is False
    assert read_json(run.teacher_check)["split"] == "selection"


def test_the_student_trains_in_train_mode_in_every_epoch_and_the_teacher_never_does(
    tmp_path, teacher_run, monkeypatch
):
    seen = []
    step = DistillationModule.training_step

    def watched(self, batch, batch_index):
        seen.append((self.student.training, self.teacher.training))
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    fit(
        tiny_recipe(teacher={"path": str(teacher_run.root), "mode": "live"}, method={"name": "distillation"}),
        tmp_path / "run",
    )
    assert seen == [(True, False)] * 12


def ensemble(good_teacher_run, **changes):
    """Two members of which one sees the images darker, and so is worse."""
    path = str(good_teacher_run.root)
    members = [{"path": path}, {"path": path, "mean": [0.4]}]
    return tiny_recipe(
        teacher={"members": members, "weights": "validation", **changes}, method={"name": "distillation"}
    )


def test_the_members_of_an_ensemble_are_weighed_on_the_selection_split(tmp_path, good_teacher_run):
    said = []
    run = fit(ensemble(good_teacher_run), tmp_path / "run", say=said.append)
    written = read_json(run.teacher_check)
    weights = written["description"]["weights"]
    assert weights[0][0] > weights[1][0] > 0
    assert weights[0][0] + weights[1][0] == pytest.approx(1.0)
    assert set(written["fingerprint"]) == {"weights", "preprocessing"}
    assert list(written["description"]["members"]) == ["run 1", "run 2"]
    assert len(said) == 1
    assert said[0].startswith("teacher 'ensemble of run 1, run 2': mean Dice ")
    assert "selection cases (lesion " in said[0]
    model = read_json(run.model)
    assert model["teacher_parameters"] == 2 * read_json(good_teacher_run.model)["parameters"]
    assert model["self_distillation"] is False


def test_an_interrupted_run_goes_on_with_the_weights_that_were_fitted(
    tmp_path, good_teacher_run, monkeypatch
):
    whole = fit(ensemble(good_teacher_run, mode="live"), tmp_path / "whole")
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 1:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(ensemble(good_teacher_run, mode="live"), tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    seen = []

    def watched(self, batch, batch_index):
        seen.append(self.teacher.weights.tolist())
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    parts = fit(ensemble(good_teacher_run, mode="live"), tmp_path / "parts", resume=True)
    assert seen[0] == read_json(whole.teacher_check)["description"]["weights"]
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()


def test_weights_need_a_selection_split(tmp_path, teacher_run):
    members = {"members": [{"path": str(teacher_run.root)}], "weights": "validation"}
    recipe = tiny(teacher=members, method={"name": "distillation"})
    recipe["data"]["splits"]["fractions"] = {"train": 0.8, "test": 0.2}
    with pytest.raises(TeacherError, match=r"validation needs a selection split; set data\.splits\.carve"):
        fit(check_recipe(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_normalisation_is_caught_by_the_floor(tmp_path, good_teacher_run):
    """A teacher that has learnt, and one that sees each image normalised as it never was in its training."""

    def taught(**normalisation):
        teacher = {"path": str(good_teacher_run.root), "floor": 0.5, **normalisation}
        return tiny_recipe(teacher=teacher, method={"name": "distillation"}, training={"epochs": 1})

    assert read_json(fit(taught(), tmp_path / "right").teacher_check)["mean_dice"] > 0.5
    for number, wrong in enumerate(({"mean": [0.5], "std": [0.25]}, {"std": [1 / 255]})):
        with pytest.raises(TeacherError, match=r"below the floor of 0\.5; .* normalisation \(mean, std\)"):
            fit(taught(**wrong), tmp_path / f"wrong-{number}")
        assert not (tmp_path / f"wrong-{number}").exists()


def test_an_existing_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("keep")
    for resume in (False, True):
        with pytest.raises(RunError, match=r"exists|not a run folder"):
            fit(tiny_recipe(), tmp_path / "run", resume=resume)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_resume_with_another_recipe_is_refused(teacher_run):
    with pytest.raises(RunError, match=r"another recipe \(different: training\)"):
        fit(tiny_recipe(model={"options": {"width": 4}}, training={"lr": 0.1}), teacher_run.root, resume=True)


def test_resume_of_a_finished_run_changes_nothing(teacher_run):
    before = teacher_run.last_weights.read_bytes()
    fit(tiny_recipe(model={"options": {"width": 4}}), teacher_run.root, resume=True)
    assert teacher_run.last_weights.read_bytes() == before


def test_a_method_without_its_teacher_is_refused_before_the_folder_is_made(tmp_path):
    with pytest.raises(ConfigError, match="needs a teacher"):
        fit(tiny_recipe(method={"name": "distillation"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_below_the_floor_is_refused(tmp_path, teacher_run):
    recipe = tiny_recipe(
        teacher={"path": str(teacher_run.root), "floor": 0.999}, method={"name": "distillation"}
    )
    with pytest.raises(TeacherError, match=r"0\.999"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_calibration_needs_its_split(tmp_path, teacher_run):
    mapping = tiny(teacher={"path": str(teacher_run.root)}, method=PACED)
    mapping["data"]["splits"] = {"fractions": {"train": 0.7, "selection": 0.15, "test": 0.15}}
    with pytest.raises(TeacherError, match="calibration split"):
        fit(check_recipe(mapping), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_cases(tmp_path):
    with pytest.raises(RunError, match=r"the loss became (nan|inf) in epoch \d+ on the cases \S+"):
        fit(tiny_recipe(training={"lr": 1e30, "optimizer": "sgd"}), tmp_path / "run")


def test_patience_ends_a_run_that_stopped_improving(tmp_path):
    run = fit(tiny_recipe(training={"epochs": 30, "patience": 2, "lr": 1e-12}), tmp_path / "run")
    state = run.read_state()
    assert state["epochs_done"] == state["best_epoch"] + 3 < 30


@pytest.mark.parametrize(
    ("scheduler", "rates"),
    [
        ("constant", [1e-3] * 4),
        ("step", [1e-3, 1e-3, 1e-4, 1e-4]),
        ("cosine", [1e-3, 8.53553e-4, 5e-4, 1.46447e-4]),
    ],
)
def test_the_learning_rate_follows_its_schedule(tmp_path, scheduler, rates):
    training = {"epochs": 4, "lr": 1e-3, "scheduler": scheduler, "step_epochs": 2, "step_factor": 0.1}
    run = fit(tiny_recipe(training=training), tmp_path / "run")
    assert [float(row["lr"]) for row in history(run)] == pytest.approx(rates, rel=1e-4)


def test_a_run_that_stopped_early_does_not_train_on_when_resumed(tmp_path):
    recipe = tiny_recipe(training={"epochs": 30, "patience": 1, "lr": 1e-12})
    run = fit(recipe, tmp_path / "run")
    rows, weights = history(run), run.last_weights.read_bytes()
    assert len(rows) < 30
    run.write_state(state="running")  # as if killed just before the end was written
    fit(recipe, tmp_path / "run", resume=True)
    assert run.finished
    assert history(run) == rows
    assert run.last_weights.read_bytes() == weights


def test_data_divided_otherwise_are_refused_when_resuming_and_evaluating(tmp_path):
    run = fit(tiny_recipe(), tmp_path / "run")
    described = read_json(run.environment)
    described["split_cases"]["test"][0] = "another"
    write_json(run.environment, described)
    with pytest.raises(RunError, match=r"the test split has changed .* \(2 cases, first another\)"):
        evaluate(run.root)
    run.write_state(state="running")
    with pytest.raises(RunError, match="the test split has changed"):
        fit(tiny_recipe(), tmp_path / "run", resume=True)


def test_a_last_batch_of_one_case_joins_the_one_before(tmp_path):
    """16 training cases in batches of 5; a network that pools to one value cannot normalise a single case."""
    model = {"name": "smp/deeplabv3plus", "options": {"encoder_name": "resnet18"}}
    run = fit(tiny_recipe(model=model, training={"epochs": 1, "batch_size": 5}), tmp_path / "run")
    assert run.finished


def test_a_teacher_that_is_bare_weights_teaches_and_is_shown(tmp_path, teacher_run):
    torch.save(load_file(teacher_run.weights), tmp_path / "teacher.pt")
    teacher = {
        "path": str(tmp_path / "teacher.pt"),
        "model": {"name": "pcd/unet", "options": {"width": 4}},
        "mean": [0.5],
        "std": [0.25],
    }
    run = fit(tiny_recipe(teacher=teacher, method={"name": "distillation"}), tmp_path / "run")
    evaluate(run.root)
    assert Gallery.load(run.gallery()).teacher is not None


def test_one_process_at_a_time_in_a_folder(tmp_path):
    run = RunFolder(tmp_path / "run")
    with claimed(run), pytest.raises(RunError, match="in use by another training"), claimed(run):
        pass


@pytest.mark.parametrize("number", ["RANK", "SLURM_PROCID", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK"])
def test_only_the_first_process_of_all_writes(monkeypatch, number):
    assert is_first_process()
    monkeypatch.setenv(number, "1")
    assert not is_first_process()
