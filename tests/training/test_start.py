"""Fine-tuning a run: what starts where, what stays as it was, and what is refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from meddistill.errors import ConfigError, RunError
from meddistill.models import ModelSpec, count_parameters, save_weights
from meddistill.report import write_report
from meddistill.teachers import load_teacher
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder, read_json
from tests.recipes import tiny_recipe

WIDE = {"options": {"width": 4}}
HEAD = {"head.weight", "head.bias"}


def fine_tuned(start, layers="all", **changes):
    """A recipe that goes on with the network of `teacher_run` (or of another start) on other images."""
    path = start.root if isinstance(start, RunFolder) else start
    mapping = {"model": WIDE, "data": {"source": {"seed": 7}}, "training": {"epochs": 2}, **changes}
    return tiny_recipe(fine_tune={"path": str(path), "layers": layers}, **mapping)


def changed(before, after) -> set[str]:
    """Names of the weights and buffers that differ, as the network of the paper calls them."""
    return {name.removeprefix("network.") for name in after if not torch.equal(before[name], after[name])}


def test_all_layers_start_from_the_chosen_student_of_the_run(tmp_path, teacher_run):
    run = fit(fine_tuned(teacher_run, training={"epochs": 1, "lr": 1e-30}), tmp_path / "run")
    before, after = load_file(teacher_run.weights), load_file(run.weights)
    assert not [name for name in changed(before, after) if not name.endswith(("mean", "var", "tracked"))]
    assert changed(before, after)  # batch statistics follow the images, whatever the learning rate


def test_the_encoder_stays_bit_for_bit_where_the_decoder_is_trained(tmp_path, teacher_run):
    """Weights, running means and counts, through three epochs with a validation after each."""
    recipe = fine_tuned(
        teacher_run, "decoder", training={"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1}
    )
    run = fit(recipe, tmp_path / "run")
    before, after = load_file(teacher_run.weights), load_file(run.last_weights)
    moved = changed(before, after)
    trained = {name.removeprefix("network.") for name in after if ".decoder." in name} | HEAD
    assert moved == trained


def test_the_last_layer_alone_moves_on_frozen_features(tmp_path, teacher_run):
    run = fit(fine_tuned(teacher_run, "head"), tmp_path / "run")
    assert changed(load_file(teacher_run.weights), load_file(run.last_weights)) == HEAD
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    [group] = checkpoint["optimizer_states"][0]["param_groups"]
    assert len(group["params"]) == 2


@pytest.mark.parametrize(("layers", "trained"), [("all", 2), ("decoder", 1), ("head", 0)])
def test_run_and_report_name_the_start(tmp_path, teacher_run, layers, trained):
    run = fit(fine_tuned(teacher_run, layers, training={"epochs": 1}), tmp_path / "run")
    described = read_json(run.model)
    start = described["start"]
    whole = count_parameters(ModelSpec("pcd/unet", options={"width": 4}).build())
    encoder = sum(
        value.numel()
        for name, value in load_file(teacher_run.weights).items()
        if name.startswith(("network.stem", "network.encoder")) and name.endswith(("weight", "bias"))
    )
    assert start["trained_parameters"] == (4 * 2 + 2, whole - encoder, whole)[trained]
    assert described["parameters"] == whole
    assert start["path"] == str(teacher_run.weights)
    assert start["layers"] == layers
    assert start["digest"] == load_teacher(teacher_run.root).fingerprint()["weights"]
    evaluate(run.root)
    page = write_report(run).read_text(encoding="utf-8")
    assert f"which started from {teacher_run.weights}" in page
    assert start["digest"] in page
    part = {"all": "all layers", "decoder": "the decoder", "head": "the last layer"}[layers]
    assert f"({part} trained:" in page


def test_a_run_without_a_start_says_nothing_of_one(teacher_run):
    assert "start" not in read_json(teacher_run.model)


def test_frozen_parts_are_in_evaluation_mode_in_every_step(tmp_path, teacher_run, monkeypatch):
    seen = []
    step = DistillationModule.training_step

    def watched(self, batch, batch_index):
        network = self.student.network
        seen.append((network.stem.training, network.encoder[3].training, network.decoder.training))
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    fit(fine_tuned(teacher_run, "decoder"), tmp_path / "run")
    assert seen == [(False, False, True)] * 8


@pytest.mark.parametrize("layers", ["all", "decoder"])
def test_a_resumed_run_ends_alike_and_does_not_read_the_start_again(
    tmp_path, teacher_run, monkeypatch, layers
):
    shutil.copytree(teacher_run.root, tmp_path / "start")
    recipe = fine_tuned(tmp_path / "start", layers, training={"epochs": 3})
    whole = fit(recipe, tmp_path / "whole")
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 2:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(recipe, tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    shutil.rmtree(tmp_path / "start")
    parts = fit(recipe, tmp_path / "parts", resume=True)
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert read_json(parts.model) == read_json(whole.model)
    with pytest.raises(RunError, match="start is missing; give a run folder or a weights file"):
        fit(recipe, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_weights_file_that_fits_is_a_start(tmp_path, teacher_run):
    run = fit(fine_tuned(teacher_run.weights, "head"), tmp_path / "run")
    bare = tmp_path / "bare.pt"
    torch.save(load_file(teacher_run.weights), bare)
    same = fit(fine_tuned(bare, "head"), tmp_path / "same")
    assert same.last_weights.read_bytes() == run.last_weights.read_bytes()
    assert read_json(same.model)["start"]["digest"] == read_json(run.model)["start"]["digest"]


@pytest.mark.parametrize("form", ["mean_teacher", "single_branch"])
def test_every_form_is_fine_tuned(tmp_path, form):
    """A student of several networks starts from one of the same form."""
    changes = {
        "method": {"name": form},
        "data": {"supervision": {"full_groups": 4, "full_per_batch": 2}},
        "training": {"epochs": 1},
    }
    start = fit(tiny_recipe(**changes), tmp_path / "start")
    recipe = tiny_recipe(fine_tune={"path": str(start.root), "layers": "decoder"}, **changes)
    run = fit(recipe, tmp_path / "run")
    moved = changed(load_file(start.weights), load_file(run.last_weights))
    assert moved
    assert not any("stem" in name or "encoder" in name for name in moved)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"options": {"width": 2}}}, r"options \{'width': 4\}, not \{'width': 2\}"),
        ({"model": {"name": "nakt/unet", "options": {"width": 4}}}, "pcd/unet, not nakt/unet"),
        ({"model": WIDE, "method": {"name": "mean_teacher"}}, "form 'single', not 'mean_teacher'"),
    ],
)
def test_another_network_is_refused_before_the_folder_is_made(tmp_path, teacher_run, changes, said):
    with pytest.raises(ConfigError, match=f"is another network than the student: {said}"):
        fit(fine_tuned(teacher_run, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [({"num_classes": 3}, "classes 3, not 2"), ({"in_channels": 3}, "image channels 3, not 1")],
)
def test_other_classes_and_channels_are_refused(tmp_path, given, said):
    spec = ModelSpec("pcd/unet", options={"width": 4}, **given)
    save_weights(spec.build(), spec, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=said):
        fit(fine_tuned(tmp_path / "w.safetensors"), tmp_path / "run")


def test_starts_that_cannot_be_used_are_refused(tmp_path, teacher_run):
    torch.save({"head.weight": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(RunError, match=r"other\.pt does not fit the network: missing "):
        fit(fine_tuned(tmp_path / "other.pt"), tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"is not a run folder: it has no student\.safetensors"):
        fit(fine_tuned(tmp_path / "empty"), tmp_path / "run")
    shutil.copytree(teacher_run.root, tmp_path / "half")
    RunFolder(tmp_path / "half").write_state(state="running", epochs_done=1)
    with pytest.raises(RunError, match=r"half is unfinished \(1 epochs done\); go on by --resume"):
        fit(fine_tuned(tmp_path / "half"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_must_be_named(tmp_path):
    with pytest.raises(ConfigError, match=r"tiny needs a start: give --fine_tune\.path RUN_OR_WEIGHTS"):
        fit(tiny_recipe(fine_tune={"layers": "head"}), tmp_path / "run")
    with pytest.raises(ConfigError, match="needs a start: the study trains row 'a' first; or give"):
        fit(tiny_recipe(fine_tune={"row": "a"}), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"fine_tune: give path, or in a study row \(and not both\)"):
        tiny_recipe(fine_tune={"row": "a", "path": "b"})
    with pytest.raises(ConfigError, match=r"fine_tune\.layers: input should be 'all', 'decoder' or 'head'"):
        tiny_recipe(fine_tune={"path": "a", "layers": "encoder"})
