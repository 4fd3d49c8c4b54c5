"""A recipe with mixed supervision, from its checks to the run folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meddistill.config.load import check_recipe
from meddistill.data import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.evaluation import ScoreTable
from meddistill.training.assembly import assemble
from meddistill.training.data import TaskData
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import read_json
from tests.data.builders import manifest, write_image
from tests.recipes import PACED, tiny, tiny_recipe
from tests.training.test_fit import history


def supervised(more=None, **changes):
    """A tiny recipe in which 5 of 16 training cases are fully labelled, 2 of 4 in each batch."""
    section = {"full_groups": 5, "full_per_batch": 2, "weak": {"kind": "disc"}, **(more or {})}
    return {**changes, "data": {"supervision": section, **changes.get("data", {})}}


def message(more=None, **changes):
    with pytest.raises(ConfigError) as caught:
        assemble(tiny_recipe(**supervised(more, **changes)))
    text = str(caught.value)
    assert "\n" not in text
    return text


def seen_batches(monkeypatch):
    """The batches of the trainings to come."""
    seen, step = [], DistillationModule.training_step

    def watched(self, batch, batch_index):
        seen.append(
            {name: value.clone() if torch.is_tensor(value) else value for name, value in batch.items()}
        )
        return step(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    return seen


# Checks


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"full_groups": 17}, "full_groups is 17, but the training split has 16 groups with full labels"),
        ({"full_groups": 0}, "data.supervision.full_groups: input should be greater than 0, got 0"),
        ({"full_per_batch": 5}, "full_per_batch is 5, but a batch has 4 cases"),
        ({"full_per_batch": 0}, "data.supervision.full_per_batch: input should be greater than 0"),
        ({"full_groups": 16}, "all training cases are fully labelled, but 2 of 4 in a batch"),
        ({"weak": {"kind": "discs"}}, "unknown weak label 'discs'; did you mean 'disc'"),
        ({"weak": {"kind": "disc", "wide": 3}}, "unknown option of weak label disc 'wide'"),
        ({"weak": {"width": 3}}, "data.supervision.weak.kind: this key is required"),
        ({"weak": {"kind": "file"}}, "kind file needs a source with files of weak labels"),
        ({"full_group": 3}, "did you mean 'full_groups'"),
        ({"steps_per_epoch": 0}, "steps_per_epoch"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(more, words):
    assert words in message(more)


def test_a_mixture_must_divide_by_the_processes():
    assert "do not both divide by 2 processes" in message({"full_per_batch": 1}, training={"devices": 2})


def test_all_cases_full_and_all_batches_full_needs_no_weak_case():
    task = assemble(tiny_recipe(**supervised({"full_groups": 16, "full_per_batch": 4})))
    assert all(batch["full"].all() for batch in task.training_loader())


def test_a_recipe_without_supervision_is_as_before():
    recipe = tiny_recipe()
    data = TaskData.from_config(recipe.data)
    assert data.supervision is None
    assert data.dataset("train").cache.weak is None
    assert data.describe_supervision() == {}


# What is full


def full_cases(seed, more=None):
    recipe = tiny_recipe(seed=seed, **supervised(more))
    return assemble(recipe).data.supervision.full


def test_the_seed_of_the_recipe_draws_unless_the_section_has_one():
    assert full_cases(0) != full_cases(1)
    assert full_cases(0, {"seed": 4}) == full_cases(1, {"seed": 4}) == full_cases(4)
    assert len(full_cases(0)) == 5


def test_only_the_training_split_is_weakly_labelled():
    data = assemble(tiny_recipe(**supervised())).data
    plain = TaskData.from_config(tiny_recipe().data)
    for split in ("selection", "calibration", "test"):
        cache, expected = data.dataset(split).cache, plain.dataset(split).cache
        assert cache.weak is None
        assert torch.equal(cache.gather(range(4))[1], expected.gather(range(4))[1])


# Training


def test_a_run_sees_the_mixture_and_writes_it_down(tmp_path, monkeypatch):
    seen = seen_batches(monkeypatch)
    run = fit(tiny_recipe(**supervised(data={"augment": "flip"})), tmp_path / "run")
    supervision = read_json(run.environment)["supervision"]
    assert supervision["full_cases"] == len(supervision["full_groups"]) == 5
    assert supervision["weak_cases"] == 11
    assert supervision["weak"] == {"kind": "disc"}
    assert 0 < supervision["labelled_share_of_weak_cases"] < 13 / 32**2
    assert len(seen) == 3 * 6
    for batch in seen:
        assert batch["full"].tolist() == [True, True, False, False]
        assert torch.equal(batch["label"][2:], batch["weak"][2:])
        assert set(batch["case_id"][:2]) <= set(supervision["full_groups"])
        assert not set(batch["case_id"][2:]) & set(supervision["full_groups"])


def test_the_training_split_is_scored_against_full_labels(tmp_path):
    run = fit(tiny_recipe(**supervised({"weak": {"kind": "none"}}, training={"epochs": 1})), tmp_path / "run")
    evaluate(run.root, split="train")
    table = ScoreTable.read_csv(run.scores("train"))
    assert np.isfinite(np.asarray(table["dice"], dtype=float)).sum() >= 12


def test_a_resumed_run_sees_the_same_batches(tmp_path, monkeypatch):
    changes = supervised({"steps_per_epoch": 5}, data={"augment": "light"})
    seen = seen_batches(monkeypatch)
    whole = fit(tiny_recipe(**changes), tmp_path / "whole")
    expected, watched = list(seen), DistillationModule.training_step
    assert len(expected) == 15

    def interrupted(self, batch, batch_index):
        if self.current_epoch == 1 and batch_index == 2:
            raise RunError("stopped")
        return watched(self, batch, batch_index)

    monkeypatch.setattr(DistillationModule, "training_step", interrupted)
    with pytest.raises(RunError, match="stopped"):
        fit(tiny_recipe(**changes), tmp_path / "parts")
    monkeypatch.setattr(DistillationModule, "training_step", watched)
    seen.clear()
    parts = fit(tiny_recipe(**changes), tmp_path / "parts", resume=True)
    assert parts.last_weights.read_bytes() == whole.last_weights.read_bytes()
    for again, before in zip(seen, expected[5:], strict=True):
        assert all(torch.equal(again[name], before[name]) for name in ("image", "label", "weak", "index"))


@pytest.mark.parametrize(("mode", "augment"), [("joint", "flip"), ("replay", "light")])
def test_stored_logits_join_mixed_batches(tmp_path, teacher_run, monkeypatch, mode, augment):
    seen = seen_batches(monkeypatch)
    changes = supervised(
        method={"name": "distillation"},
        data={"augment": augment},
        teacher={"path": str(teacher_run.root), "mode": mode, "views": 2},
        training={"epochs": 2},
    )
    rows = history(fit(tiny_recipe(**changes), tmp_path / "run"))
    assert all(np.isfinite(float(row["train_kd"])) for row in rows)
    for batch in seen:
        assert batch["teacher_logits"].shape == (4, 2, 32, 32)
        assert torch.equal(batch["label"][2:], batch["weak"][2:])


def test_what_a_method_is_prepared_on_are_the_labels_that_training_may_see(
    tmp_path, teacher_run, monkeypatch
):
    """The thresholds of P-CD are fitted to labels: those of weak cases must be their weak ones."""
    from meddistill.methods import PacedDistillation

    seen, prepare = [], PacedDistillation.prepare

    def watched(self, context):
        seen.extend(label for _, labels in context.passes() for label in labels)
        return prepare(self, context)

    monkeypatch.setattr(PacedDistillation, "prepare", watched)
    changes = supervised(method=PACED, teacher={"path": str(teacher_run.root)}, training={"epochs": 1})
    fit(tiny_recipe(**changes), tmp_path / "run")
    assert len(seen) == 16
    assert sum(bool((label == IGNORE_INDEX).any()) for label in seen) == 11


def test_the_fingerprint_of_the_data_tells_the_supervision():
    prints = set()
    for more in ({}, {"seed": 5}, {"weak": {"kind": "disc", "width": 2}}, {"full_groups": 6}):
        data = assemble(tiny_recipe(**supervised(more))).data
        data.decode()
        prints.add(data.fingerprint())
    plain = assemble(tiny_recipe()).data
    plain.decode()
    assert len(prints | {plain.fingerprint()}) == 5


# Weak labels of files


def scribbled(root, *, with_labels=2, cases=6, scribbles=True):
    """Images with a square; the first few have full labels, all have a scribble."""
    rows = []
    for number in range(cases):
        label = np.zeros((32, 32), dtype=np.uint8)
        label[8:20, 8:20] = 1
        weak = np.full((32, 32), 4, dtype=np.uint8)
        weak[10, 9:15], weak[2, 2:9] = 1, 0
        name = f"{number}"
        write_image(root / f"{name}.png", (label * 90 + number).astype(np.uint8))
        row = {"image": f"{name}.png", "label": "", "weak": "", "split": "train"}
        if number < with_labels:
            row["label"] = write_image(root / f"{name}_label.png", label).name
        if scribbles:
            row["weak"] = write_image(root / f"{name}_weak.png", weak).name
        rows.append(row)
    file = manifest(root / "list.csv", rows)
    mapping = tiny(training={"epochs": 1})
    mapping["data"] |= {
        "source": {"kind": "manifest", "file": str(file), "class_names": ["background", "square"]},
        "splits": {},
        "supervision": {"full_groups": 2, "full_per_batch": 1, "weak": {"kind": "file", "unlabelled": 4}},
    }
    return mapping


def test_real_scribbles_train_beside_the_few_full_labels(tmp_path, monkeypatch):
    seen = seen_batches(monkeypatch)
    run = fit(check_recipe(scribbled(tmp_path / "data")), tmp_path / "run")
    assert read_json(run.environment)["supervision"]["full_groups"] == ["0", "1"]
    assert read_json(run.environment)["supervision"]["labelled_share_of_weak_cases"] == 13 / 1024
    for batch in seen:
        assert (batch["label"][0] != IGNORE_INDEX).all()
        assert (batch["weak"] == 1).flatten(1).sum(1).tolist() == [6] * len(batch["case_id"])


def test_files_of_weak_labels_that_no_case_has(tmp_path):
    recipe = check_recipe(scribbled(tmp_path, scribbles=False))
    with pytest.raises(DataError, match="no weakly labelled training case has a labelled pixel"):
        assemble(recipe).data.decode()


def test_more_full_groups_than_have_labels(tmp_path):
    mapping = scribbled(tmp_path)
    mapping["data"]["supervision"]["full_groups"] = 3
    with pytest.raises(ConfigError, match="the training split has 2 groups with full labels"):
        assemble(check_recipe(mapping))


def test_a_fully_labelled_case_whose_label_is_empty_is_refused(tmp_path):
    mapping = scribbled(tmp_path, with_labels=0)
    with pytest.raises(DataError, match="drawn as fully labelled, but none of its pixels has a label"):
        assemble(check_recipe(mapping)).data.decode()
