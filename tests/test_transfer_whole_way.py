"""A teacher's own images are gone: a student learns from the teacher and unlabelled images alone."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from meddistill.cli import run
from meddistill.data.phantom import PhantomSource, write_phantom
from meddistill.evaluation import ScoreTable
from meddistill.models import load_model
from meddistill.training.run_folder import RunFolder

NAMES = ["background", "lesion"]


def recipe_file(place, name, **sections):
    """A recipe of a network that learns in seconds."""
    recipe = {
        "name": name,
        "model": {"name": "pcd/unet", "options": {"width": 4}},
        "training": {"epochs": 40, "batch_size": 4, "lr": 0.01, "accelerator": "cpu"},
        **sections,
    }
    file = place / f"{name}.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return str(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained teacher without its images, as run and as ONNX; images of elsewhere, and a test set."""
    place = tmp_path_factory.mktemp("transfer")
    for name, cases, seed in (("original", 24, 1), ("elsewhere", 24, 2), ("tests", 10, 3)):
        write_phantom(place / name, PhantomSource(cases, size=(32, 32), seed=seed))
    source = {"kind": "folder", "root": str(place / "original")}
    splits = {"fractions": {"train": 0.7, "selection": 0.3}}
    data = {"source": source, "splits": splits, "size": [32, 32], "augment": "flip"}
    recipe = recipe_file(place, "teacher", data=data, method={"name": "supervised"})
    assert run(["train", recipe, "-o", str(place / "teacher")]) == 0
    shutil.rmtree(place / "original")
    for mask in (place / "elsewhere").rglob("*_mask.png"):
        mask.write_bytes(b"never opened")
    (place / "bare").mkdir()
    _, network = load_model(RunFolder(place / "teacher").weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = torch.rand(1, 1, 32, 32)
        torch.onnx.export(
            network.eval(), (image,), place / "bare" / "t.onnx", verbose=False, external_data=False
        )
    return place


def student(place, name, teacher):
    data = {
        "source": {"kind": "images", "root": str(place / "elsewhere"), "class_names": NAMES},
        "splits": {"fractions": {"train": 0.75, "selection": 0.25}},
        "size": [32, 32],
    }
    method = {"name": "pseudo_label_transfer", "exclude": [{"name": "target_pixels", "alpha": 500}]}
    tests = {"near": {"source": {"kind": "folder", "root": str(place / "tests")}}}
    return recipe_file(place, name, data=data, method=method, teacher={"path": str(teacher)}, tests=tests)


def said(capfd, *command):
    capfd.readouterr()
    code = run([str(word) for word in command])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


TEACHERS = {"run": "teacher", "onnx": "bare/t.onnx"}


@pytest.mark.parametrize("kind", TEACHERS)
def test_a_student_learns_without_the_teachers_data(place, capfd, kind):
    assert not (place / "original").exists()
    recipe = student(place, f"student-{kind}", place / TEACHERS[kind])
    out = said(capfd, "train", recipe, "-o", place / f"run-{kind}", "--stores", place / f"stores-{kind}")
    assert "not scored, because no labels of these images are read" in out
    assert "target_pixels removed" in out
    folder = RunFolder(place / f"run-{kind}")
    removed = json.loads(folder.exclusion.read_text())["removed_cases"]
    assert 0 < len(removed) < 24
    assert len(ScoreTable.read_csv(folder.scores("near"))) == 10
    dice = json.loads(folder.summary("near").read_text())["metrics"]["dice"]["mean"]
    assert dice > 0.3
    assert "Transferal set" in folder.report.read_text(encoding="utf-8")


def test_the_annotated_set_is_written_and_trained_on(place, capfd):
    recipe = student(place, "annotated", place / "teacher")
    out = said(capfd, "annotate", recipe, "-o", place / "store", "--masks", place / "set")
    assert "images/s" in out
    assert f"masks: {place / 'set'}" in out
    masks = sorted((place / "set" / "masks").rglob("*.png"))
    assert 0 < len(masks) < 24
    assert set(np.unique(Image.open(masks[0]))) == {0, 255}
    section = yaml.safe_load((place / "set" / "source.yaml").read_text())["data"]
    again = recipe_file(
        place,
        "again",
        data={**section, "size": [32, 32]},
        method={"name": "supervised"},
        training={"epochs": 1, "batch_size": 4, "accelerator": "cpu"},
    )
    assert "no test split" in said(capfd, "train", again, "-o", place / "again")
