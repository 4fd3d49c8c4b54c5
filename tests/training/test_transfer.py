"""A student that learns from teachers alone: labels unread, poor masks left out, the others as labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from meddistill.config.load import check_recipe
from meddistill.data.phantom import PhantomSource, write_phantom
from meddistill.errors import ConfigError, DataError, RunError, TeacherError
from meddistill.exclusion import RULES, Rule
from meddistill.training.assembly import assemble
from meddistill.training.data import TaskData
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.preparation import prepare, reopen
from meddistill.training.run_folder import read_json
from tests.mistakes import snapshot
from tests.recipes import tiny
from tests.training.test_fit import history

SPLITS = {"fractions": {"train": 0.75, "selection": 0.25}}
FEW = [{"name": "target_pixels", "alpha": 1000}]
"""Removes some of the cases of `images`, and keeps some of each split."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 24 phantoms, some of them without a lesion."""
    root = tmp_path_factory.mktemp("phantoms") / "images"
    write_phantom(root, PhantomSource(24, size=(32, 32), seed=1))
    return root


def transfer(root, teacher_run, kind="images", exclude=FEW, splits=SPLITS, **more):
    """A recipe that transfers from `teacher_run` over the images of `root`."""
    teacher = more.pop("teacher", {"path": str(teacher_run.root)})
    recipe = tiny(
        data={"source": {"kind": kind, "root": str(root)}, **more.pop("data", {})},
        method={"name": "pseudo_label_transfer", "exclude": exclude},
        teacher={**teacher, **more.pop("more_teacher", {})},
    )
    recipe["data"]["splits"] = splits
    return check_recipe(recipe)


def prepared(recipe, stores, make=prepare):
    task = assemble(recipe)
    task.data.decode()
    task.ready(torch.device("cpu"))
    return task, make(task, stores)


@pytest.mark.parametrize("mode", ["joint", "live", "replay"])
def test_poor_masks_are_left_out_and_the_others_are_labels(tmp_path, images, good_teacher_run, mode):
    recipe = transfer(
        images,
        good_teacher_run,
        more_teacher={"mode": mode},
        data={"augment": "flip" if mode == "replay" else "none"},
    )
    task, found = prepared(recipe, tmp_path)
    data, exclusion = task.data, found.exclusion
    assert 0 < len(exclusion.kept) < exclusion.total == 24
    kept = [case for split in ("train", "selection") for case in data.cases(split)]
    assert kept == list(exclusion.kept)
    whole = TaskData.from_config(recipe.data)
    for split in ("train", "selection"):
        dataset = data.dataset(split)
        for index, case in enumerate(dataset.cache.cases):
            image = dataset[index]["image"]
            original = whole.dataset(split).cache
            position = [other.id for other in original.cases].index(case.id)
            assert torch.equal(image[0], original.read(position)[0].float() / 255)
            mask = task.teacher(image).argmax(1)
            assert torch.equal(dataset[index]["label"], mask)
            assert int((mask > 0).sum()) * 64 >= 1000
    assert task.data.split.cases.keys() == whole.split.cases.keys()
    assert len(data.split.cases["train"]) == 18
    assert data.fingerprint() == _fingerprint(recipe)


def _fingerprint(recipe):
    data = TaskData.from_recipe(recipe)
    data.decode()
    return data.fingerprint()


def test_the_store_has_all_cases_and_training_reads_those_that_are_kept(tmp_path, images, good_teacher_run):
    task, found = prepared(transfer(images, good_teacher_run), tmp_path)
    assert found.stored.store.manifest.rows == 24
    logits = found.stored.logits(tuple(task.data.cases("train")), seed=0)
    for batch in task.training_loader(logits):
        live = task.teacher(batch["image"]).softmax(1)
        assert (batch["teacher_logits"].softmax(1) - live).abs().max() < 3e-4
        assert torch.equal(batch["teacher_logits"].argmax(1), batch["label"])


def test_reopening_narrows_to_the_same_data(tmp_path, images, good_teacher_run):
    recipe = transfer(images, good_teacher_run)
    first, _ = prepared(recipe, tmp_path)
    again, found = prepared(recipe, tmp_path, make=reopen)
    assert found.stored.annotation.written == 0
    for split in ("train", "selection"):
        caches = [task.data.dataset(split).cache for task in (first, again)]
        assert caches[0].fingerprint() == caches[1].fingerprint()
        labels = [cache.gather(range(len(cache)))[1] for cache in caches]
        assert torch.equal(*labels)


def test_a_run_writes_what_was_excluded(tmp_path, images, good_teacher_run):
    said = []
    run = fit(transfer(images, good_teacher_run), tmp_path / "run", say=said.append)
    written, environment = read_json(run.exclusion), read_json(run.environment)
    assert written["kept"] + sum(rule["removed"] for rule in written["rules"]) == written["total"] == 24
    assert sum(part["excluded"] for part in written["splits"].values()) == len(written["removed_cases"])
    assert environment["selection"] == "agreement with the teacher"
    out = environment["excluded_cases"]
    assert sorted(out["train"] + out["selection"]) == sorted(written["removed_cases"])
    assert environment["split_counts"] == {"train": 18, "selection": 6, "calibration": 0, "test": 0}
    table = run.exclusion_table.read_text().splitlines()
    assert table[0] == "case,kept,removed_by,target_pixels"
    assert len(table) == 25
    assert said[0] == "teacher run: not scored, because no labels of these images are read"
    assert said[1].startswith(f"{written['kept']} of 24 cases are kept\n  target_pixels removed ")
    assert all(float(row["selection_dice"]) >= 0 for row in history(run))
    assert read_json(run.teacher_check)["description"]["name"] == "run"


def test_labels_of_a_labelled_source_are_not_read(tmp_path, images, good_teacher_run, monkeypatch):
    blind = fit(transfer(images, good_teacher_run), tmp_path / "blind")
    read = []
    monkeypatch.setattr("meddistill.data.FolderSource.read_label", lambda _, case: read.append(case))
    monkeypatch.setattr("meddistill.data.validate.original_size", _refuses_masks)
    # Strata of the folder would divide the cases otherwise; the lists keep the division.
    lists = {"files": _lists(tmp_path, blind)}
    seeing = fit(transfer(images, good_teacher_run, kind="folder", splits=lists), tmp_path / "seeing")
    assert read == []
    assert (
        read_json(seeing.exclusion)["removed_cases"].keys()
        == read_json(blind.exclusion)["removed_cases"].keys()
    )


def _refuses_masks(path):
    assert "_mask" not in path.name
    return (32, 32)


def _lists(folder, run):
    files = {}
    for split, cases in read_json(run.environment)["split_cases"].items():
        if cases:
            files[split] = str(folder / f"{split}.json")
            (folder / f"{split}.json").write_text(json.dumps([f"{case}.png" for case in cases]))
    return files


def test_a_test_split_keeps_its_labels(tmp_path, images, good_teacher_run):
    splits = {"fractions": {"train": 0.5, "selection": 0.25, "test": 0.25}}
    task, _ = prepared(transfer(images, good_teacher_run, kind="folder", splits=splits), tmp_path)
    labels = task.data.dataset("test").cache.gather(range(6))[1]
    assert labels.unique().tolist() == [0, 1]


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, images, good_teacher_run, monkeypatch):
    recipe = transfer(images, good_teacher_run)
    whole = fit(recipe, tmp_path / "whole", stores=tmp_path / "stores")
    step = DistillationModule.training_step

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 1:
            raise RunError("stopped")
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(recipe, tmp_path / "parts", stores=tmp_path / "stores")
    monkeypatch.setattr(DistillationModule, "training_step", step)
    parts = fit(recipe, tmp_path / "parts", stores=tmp_path / "stores", resume=True)
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()


@pytest.mark.parametrize("mode", ["joint", "live"])
def test_excluding_everything_is_one_line_and_leaves_no_run(tmp_path, images, good_teacher_run, mode):
    recipe = transfer(images, good_teacher_run, exclude=[{"name": "target_pixels", "alpha": 60000}])
    recipe = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"mode": mode})})
    with pytest.raises(DataError, match=r"target_pixels removed 24 of 24 .* lower alpha to \d+ or less"):
        fit(recipe, tmp_path / "run", stores=tmp_path / "stores")
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class KeepsFirst(Rule):
    """Keeps the cases up to a number, in their order."""

    name: ClassVar[str] = "first"
    needs_members: ClassVar[bool] = True
    count: int = 1

    def measure(self, answers):
        assert answers.members.shape[0] == 2
        assert answers.members.shape[1:] == answers.probabilities.shape
        return answers.members.float().mean((0, 2, 3, 4)).unsqueeze(1)

    def keeps(self, measured):
        return torch.arange(len(measured)) < self.count

    @property
    def removes(self):
        return "the rest"

    def relax(self, measured):
        return f"raise count above {len(measured)}"


FIRST = [{"name": "first", "count": 18}]


@pytest.fixture
def first(monkeypatch):
    monkeypatch.setitem(RULES, "first", KeepsFirst)


def pair(run, **more):
    return {"members": [{"path": str(run.root)}, {"path": str(run.root), "mean": [0.2]}], **more}


@pytest.mark.parametrize("mode", ["joint", "live"])
def test_a_rule_that_compares_members_gets_them(tmp_path, images, good_teacher_run, first, mode):
    teacher = pair(good_teacher_run, mode=mode)
    recipe = transfer(images, good_teacher_run, teacher=teacher, exclude=[{"name": "first", "count": 20}])
    run = fit(recipe, tmp_path / "run", stores=tmp_path / "stores")
    assert read_json(run.exclusion)["kept"] == 20
    if mode == "joint":
        assert len(list((tmp_path / "stores").iterdir())) == 2


def test_members_can_weigh_what_their_runs_scored(tmp_path, images, good_teacher_run):
    recipe = transfer(images, good_teacher_run, teacher=pair(good_teacher_run, weights="validation"))
    run = fit(recipe, tmp_path / "run")
    assert read_json(run.teacher_check)["description"]["weights"] == [[0.5, 0.5], [0.5, 0.5]]


def test_a_rule_that_compares_members_needs_several(tmp_path, images, good_teacher_run, first):
    with pytest.raises(ConfigError, match=r"first compares several teachers, and there is one"):
        fit(transfer(images, good_teacher_run, exclude=FIRST), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_loses_all_its_cases_is_named(tmp_path, images, good_teacher_run, first):
    recipe = transfer(images, good_teacher_run, teacher=pair(good_teacher_run), exclude=FIRST)
    with pytest.raises(DataError, match=r"none of the 6 cases of the selection split .* first removed 6;"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


REFUSED = {
    "floor": ({"more_teacher": {"floor": 0.1}}, TeacherError, r"teacher\.floor: no labels of these images"),
    "supervision": (
        {"kind": "folder", "data": {"supervision": {"full_groups": 2, "full_per_batch": 1}}},
        ConfigError,
        r"data\.supervision .* pseudo_label_transfer learns from teachers alone",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_labels_is_refused(tmp_path, images, good_teacher_run, name):
    changes, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        fit(transfer(images, good_teacher_run, **changes), tmp_path / "run")
    assert snapshot(tmp_path) == {}
