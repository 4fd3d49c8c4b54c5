"""Training from stored logits: the same as live, shared between runs, and refused where it would be wrong."""

from __future__ import annotations

import pytest
import torch

from meddistill.config import load_recipe
from meddistill.data.seeding import mixed_seed
from meddistill.data.transforms import Sample, make_transform
from meddistill.errors import ConfigError, RunError, TeacherError
from meddistill.teachers.annotate import Shard
from meddistill.teachers.store import TeacherStore
from meddistill.training.annotation import annotate_recipe
from meddistill.training.assembly import student_spec
from meddistill.training.data import TaskData
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.recipe_teacher import build_teacher
from meddistill.training.run_folder import read_json
from meddistill.training.storing import store_for
from tests.mistakes import snapshot
from tests.recipes import PACED, tiny_recipe, write_recipe
from tests.teachers.stores import content
from tests.training.test_fit import history

KD = {"name": "distillation"}


def distilled(teacher_run, **changes):
    """A tiny recipe whose teacher is `teacher_run`; `mode`, `store` and the like belong to the teacher."""
    own = {
        name: changes.pop(name)
        for name in ("mode", "store", "encoding", "views", "precision")
        if name in changes
    }
    return tiny_recipe(teacher={"path": str(teacher_run.root), **own}, **{"method": KD, **changes})


def task(recipe):
    data = TaskData.from_config(recipe.data)
    return data, build_teacher(recipe, student_spec(recipe, data))


def batches(recipe, stored, data, epochs=(0,), workers=0):
    logits = stored.logits(tuple(data.cases("train")), seed=recipe.seed)
    loader = data.training_loader(batch_size=5, seed=recipe.seed, workers=workers, teacher=logits)
    for epoch in epochs:
        loader.batch_sampler.set_epoch(epoch)
        yield from loader


@pytest.mark.parametrize(("method", "tolerance"), [(KD, 1e-3), (PACED, 0.02)])
def test_a_run_from_the_store_is_the_live_run(tmp_path, teacher_run, method, tolerance):
    """Half precision moves a few pixels of P-CD across its thresholds."""
    rows = {}
    for mode in ("live", "joint"):
        recipe = distilled(
            teacher_run, mode=mode, precision="32", method=method, training={"precision": "32"}
        )
        rows[mode] = history(fit(recipe, tmp_path / mode))
    for live, joint in zip(rows["live"], rows["joint"], strict=True):
        assert float(joint["train_loss"]) == pytest.approx(float(live["train_loss"]), rel=tolerance)
    paces = [[float(row.get("threshold", 0)) for row in rows[mode]] for mode in ("live", "joint")]
    assert paces[0] == pytest.approx(paces[1], abs=2e-3)


@pytest.mark.parametrize("workers", [0, 1])
def test_joint_logits_go_the_way_of_their_image(tmp_path, teacher_run, workers):
    recipe = distilled(teacher_run, data={"augment": "light"})
    data, teacher = task(recipe)
    stored = store_for(recipe, data, teacher, tmp_path)
    cache = data.dataset("train").cache
    transform = make_transform("light", dims=2)
    for batch in batches(recipe, stored, data, epochs=(0, 3), workers=workers):
        assert batch["teacher_logits"].shape == (len(batch["index"]), 2, 32, 32)
    for position, index in enumerate(batch["index"].tolist()):
        image, label = cache.read(index)
        logits = stored.store.read([index])[0]
        sample = Sample(image=image.float() / 255, label=label.long(), teacher_logits=logits)
        expected = transform(sample, mixed_seed(recipe.seed, 3, index))
        assert torch.equal(batch["image"][position], expected["image"])
        assert torch.equal(batch["teacher_logits"][position], expected["teacher_logits"])


def test_without_augmentation_the_stored_probabilities_are_the_live_ones(tmp_path, teacher_run):
    for encoding, tolerance in (("float16", 3e-4), ("uint8", 1 / 255)):
        recipe = distilled(teacher_run, encoding=encoding)
        data, teacher = task(recipe)
        stored = store_for(recipe, data, teacher, tmp_path)
        for batch in batches(recipe, stored, data):
            live = teacher(batch["image"]).softmax(1)
            assert (batch["teacher_logits"].softmax(1) - live).abs().max() <= tolerance
        (difference,) = stored.differences
        assert difference.change == "none"
        assert 0 < difference.mean <= difference.largest <= tolerance


@pytest.mark.parametrize("workers", [0, 1])
def test_replayed_views_are_those_that_the_teacher_saw(tmp_path, teacher_run, workers):
    recipe = distilled(teacher_run, mode="replay", views=3, data={"augment": "medium"})
    data, teacher = task(recipe)
    stored = store_for(recipe, data, teacher, tmp_path)
    assert stored.store.manifest.rows == 3 * 16
    seen = {}
    for batch in batches(recipe, stored, data, epochs=range(6), workers=workers):
        live = teacher(batch["image"]).softmax(1)
        assert (batch["teacher_logits"].softmax(1) - live).abs().max() < 3e-4
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            seen.setdefault(index, []).append(image)
    for images in seen.values():
        assert all(torch.equal(images[epoch], images[epoch + 3]) for epoch in range(3))
        assert not torch.equal(images[0], images[1])
    assert stored.differences[0].change == "views"
    assert stored.differences[0].largest < 3e-4


def test_the_differences_name_each_geometric_change(tmp_path, teacher_run):
    recipe = distilled(teacher_run, data={"augment": "medium"})
    stored = store_for(recipe, *task(recipe), tmp_path)
    assert [found.change for found in stored.differences] == ["none", "flip", "rotate", "zoom", "shear"]
    assert all(found.largest > stored.differences[0].largest for found in stored.differences[1:])


def test_a_training_from_the_store_lets_go_of_the_teacher_and_writes_what_it_used(
    tmp_path, teacher_run, monkeypatch
):
    teachers = []
    step = DistillationModule.training_step

    def watched(self, batch, batch_index):
        teachers.append(self.teacher)
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    run = fit(distilled(teacher_run), tmp_path / "runs" / "kd")
    assert teachers == [None] * 12
    said = read_json(run.teacher_store)
    assert said["mode"] == "joint"
    assert said["rows"] == 16
    assert TeacherStore.open(said["folder"]).manifest.key == said["key"]
    assert (tmp_path / "runs" / "teacher-stores").is_dir()
    assert read_json(run.model)["teacher_parameters"] > read_json(run.model)["parameters"]


def test_runs_share_a_store_and_other_teachers_get_their_own(tmp_path, teacher_run, capsys):
    stores = tmp_path / "stores"
    fit(distilled(teacher_run), tmp_path / "a", stores=stores)
    assert "16 rows written" in capsys.readouterr().err
    before = snapshot(stores)
    fit(distilled(teacher_run, method=PACED), tmp_path / "b", stores=stores)
    assert "all 16 rows were there" in capsys.readouterr().err
    assert snapshot(stores) == before
    recipe = distilled(teacher_run)
    other = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"mean": [0.1]})})
    fit(other, tmp_path / "c", stores=stores)
    assert len(list(stores.iterdir())) == 2


def test_a_store_left_unfinished_is_completed_by_the_training(tmp_path, teacher_run):
    recipe = distilled(teacher_run)
    annotate_recipe(recipe, tmp_path / "whole")
    half = annotate_recipe(recipe, tmp_path / "half", shard=Shard(1, 2))
    assert half.stored is None
    assert half.done.written == 8
    fit(distilled(teacher_run, store=str(tmp_path / "half")), tmp_path / "run")
    assert content(tmp_path / "half") == content(tmp_path / "whole")


def test_a_store_of_all_splits_serves_the_training_split(tmp_path, teacher_run):
    recipe = distilled(teacher_run, store=str(tmp_path / "store"))
    stored = annotate_recipe(recipe, tmp_path / "store", splits=("test", "train")).stored
    assert stored.store.manifest.rows == 20
    data, teacher = task(recipe)
    found = store_for(recipe, data, teacher, tmp_path / "unused")
    assert found.annotation.written == 0
    assert found.differences[0].largest < 3e-4
    for batch in batches(recipe, found, data):
        live = teacher(batch["image"]).softmax(1)
        assert (batch["teacher_logits"].softmax(1) - live).abs().max() < 3e-4
    assert not (tmp_path / "unused").exists()


def test_replay_needs_an_augmentation(tmp_path, teacher_run):
    with pytest.raises(ConfigError, match=r"data\.augment is none"):
        fit(distilled(teacher_run, mode="replay"), tmp_path / "run")
    with pytest.raises(ConfigError, match="live, which stores nothing"):
        annotate_recipe(distilled(teacher_run, mode="live"), tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


CHANGED = {
    "teacher": ({}, "other teacher weights"),
    "normalisation": ({"teacher": {"mean": [0.5]}}, "the teacher's preprocessing has changed"),
    "size": ({"data": {"size": [40, 40]}}, "the images' size changed from 32x32 to 40x40"),
    "interpolation": ({"data": {"interpolation": "nearest"}}, "interpolation changed from area to nearest"),
    "images": ({"data": {"source": {"seed": 2}}}, "the images of 16 cases have changed"),
    "cases": ({"data": {"source": {"cases": 40}}}, "cases that it lacks"),
    "encoding": ({"teacher": {"encoding": "uint8"}}, "the encoding changed from float16 to uint8"),
    "views": (
        {"teacher": {"mode": "replay"}, "data": {"augment": "flip"}},
        "the augmented views changed from None to 8 views of 'flip'",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_store_of_something_else_is_refused_and_the_part_is_named(tmp_path, teacher_run, name):
    changes, said = CHANGED[name]
    store = {"path": str(teacher_run.root), "store": str(tmp_path / "store")}
    annotate_recipe(tiny_recipe(teacher=store, method=KD), tmp_path / "store")
    if name == "teacher":
        store["path"] = str(tmp_path / "other")
        fit(tiny_recipe(model={"options": {"width": 4}}, seed=7, training={"epochs": 1}), tmp_path / "other")
    recipe = write_recipe(
        tmp_path, method=KD, teacher={**store, **changes.get("teacher", {})}, data=changes.get("data", {})
    )
    before = snapshot(tmp_path)
    with pytest.raises(TeacherError, match="does not fit") as caught:
        fit(load_recipe(str(recipe)), tmp_path / "run")
    assert said in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_damaged_store_is_refused(tmp_path, teacher_run):
    recipe = distilled(teacher_run, store=str(tmp_path / "store"))
    annotate_recipe(recipe, tmp_path / "store")
    file = tmp_path / "store" / "values.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(TeacherError, match="1 of 16 rows are missing or damaged"):
        fit(recipe, tmp_path / "run")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TeacherError, match="was cut off"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, teacher_run):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "precious.txt").write_text("keep")
    with pytest.raises(RunError, match="is not a teacher store"):
        fit(distilled(teacher_run, store=str(tmp_path / "store")), tmp_path / "run")
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["precious.txt"]
