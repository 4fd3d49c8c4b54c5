"""Cases whose label is probably wrong: found by cross-validation, left out, and on record."""

from __future__ import annotations

import csv
import importlib.util

import numpy as np
import pytest

from meddistill.config.load import check_recipe
from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, RunError
from meddistill.report import write_report
from meddistill.training import cleaning
from meddistill.training.assembly import assemble
from meddistill.training.cleaning import Cleaning, check_clean, cleaned, find_wrong, for_folds
from meddistill.training.data import TaskData
from meddistill.training.fit import fit
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder, read_json
from tests import answer_recipes
from tests.data.answers import class_tree
from tests.recipes import tiny_recipe

needs_cleanlab = pytest.mark.skipif(
    importlib.util.find_spec("cleanlab") is None, reason="cleanlab is not installed: the extra clean"
)
CLEAN = {"name": "confident_learning", "folds": 2}
NOISE = {"name": "pair_flip", "rate": 0.2}


def recipe_of(place, clean=CLEAN, *, data=None, training=None, **changes):
    data, training = {"clean": clean, **(data or {})}, {"precision": "32", **(training or {})}
    return check_recipe(answer_recipes.classes(place, data=data, training=training, **changes))


def found_of(data, removed):
    """What a cross-validation that doubts the cases at `removed` would leave."""
    cache = data.dataset("train").cache
    noted = cache.labels.read(range(len(cache))).numpy().astype(np.int64)
    likely = np.full((len(cache), 3), 0.1)
    likely[np.arange(len(cache)), noted] = 0.8
    wrong = np.isin(np.arange(len(cache)), removed)
    likely[wrong] = np.roll(likely[wrong], 1, axis=1)
    made = np.array([change.changed > 0 for change in cache.changes]) if data.noise else None
    ids, names = tuple(case.id for case in cache.cases), tuple(data.source.class_names)
    return Cleaning(data.config.clean, ids, noted, likely, wrong, made, names)


@pytest.fixture
def doubting(monkeypatch):
    """Cross-validations to come doubt the first three cases, and nothing is trained for them."""
    monkeypatch.setattr(cleaning, "check_cleanlab", lambda: None)
    monkeypatch.setattr(cleaning, "find_wrong", lambda recipe, config, data: found_of(data, [0, 1, 2]))


# Checks


@pytest.mark.parametrize(
    ("clean", "words"),
    [
        ({"name": "confident"}, "data.clean.name: input should be 'confident_learning', got 'confident'"),
        ({**CLEAN, "folds": 1}, "data.clean.folds: input should be greater than or equal to 2, got 1"),
        ({**CLEAN, "fold": 3}, "data.clean.fold: unknown key 'fold'; did you mean 'folds'?"),
        ({**CLEAN, "filter_by": "prune"}, "data.clean.filter_by: input should be 'prune_by_noise_rate'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, clean, words):
    with pytest.raises(ConfigError) as caught:
        recipe_of(tmp_path, clean)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_maps_cannot_be_cleaned():
    with pytest.raises(ConfigError, match=r"data.clean is for labels of whole images"):
        tiny_recipe(data={"clean": CLEAN})


def test_labels_that_do_not_exclude_each_other_cannot_be_cleaned(tmp_path):
    recipe = check_recipe(answer_recipes.labels(tmp_path, data={"clean": CLEAN}))
    with pytest.raises(ConfigError, match=r"data.clean compares labels of one class an image"):
        fit(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(tmp_path):
    recipe = recipe_of(tmp_path, training={"devices": 2})
    with pytest.raises(ConfigError, match="trains its folds in one process"):
        check_clean(recipe, TaskData.from_recipe(recipe))


def test_a_machine_without_cleanlab_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("meddistill.data.cleaning.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install"):
        fit(recipe_of(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What is left out


def test_doubted_cases_are_not_learnt_from_and_are_on_record(tmp_path, doubting):
    recipe, lines = recipe_of(tmp_path, data={"noise": NOISE}, training={"epochs": 1}), []
    folder = fit(recipe, tmp_path / "run", say=lines.append)
    whole = [case.id for case in TaskData.from_recipe(recipe).split.cases["train"]]
    rows = list(csv.DictReader(folder.label_clean.open()))
    assert [row["case"] for row in rows] == whole[:3]
    assert all(row["given"] != row["suggested"] for row in rows)
    assert all((row["p_given"], row["p_suggested"]) == ("0.100000", "0.800000") for row in rows)
    said = read_json(folder.environment)
    assert said["label_clean"]["removed"] == 3
    assert said["label_clean"]["cases"] == said["split_counts"]["train"] == len(whole)
    assert "excluded_cases" not in said
    assert "selection" not in said
    assert lines == [f"label clean-up: 3 of {len(whole)} training cases are left out"]
    page = write_report(folder).read_text(encoding="utf-8")
    assert (
        f"Label clean-up (confident_learning, 2 folds): 3 of {len(whole)} training cases were left out"
        in page
    )


def test_the_training_split_is_narrowed_and_no_other(tmp_path, doubting):
    recipe = recipe_of(tmp_path)
    data = TaskData.from_recipe(recipe)
    cleaned(recipe, data, RunFolder(tmp_path / "run"), resumed=False)
    whole = [case.id for case in data.split.cases["train"]]
    assert list(data.cases("train")) == whole[3:]
    loader = data.training_loader(batch_size=8, seed=0, workers=0)
    assert sorted(case for batch in loader for case in batch["case_id"]) == sorted(whole[3:])
    assert list(data.cases("selection")) == [case.id for case in data.split.cases["selection"]]


def test_a_resumed_run_leaves_out_the_same_cases_without_finding_them_again(tmp_path, monkeypatch):
    folder, recipe = RunFolder(tmp_path / "run"), recipe_of(tmp_path)
    data = TaskData.from_recipe(recipe)
    cleaning.write_clean(folder, found_of(data, [4, 7]))
    monkeypatch.setattr(cleaning, "find_wrong", lambda *_: pytest.fail("trained again"))
    assert cleaned(recipe, data, folder, resumed=True) is None
    whole = data.split.cases["train"]
    assert set(data.left_out()["train"]) == {whole[4].id, whole[7].id}
    folder.label_clean.unlink()
    with pytest.raises(RunError, match="train again in a new folder"):
        cleaned(recipe, data, folder, resumed=True)


def test_counts_against_the_noise_that_was_made(tmp_path):
    data = TaskData.from_recipe(recipe_of(tmp_path, data={"noise": NOISE}))
    changed = [place for place, change in enumerate(data.dataset("train").cache.changes) if change.changed]
    right = next(place for place in range(30) if place not in changed)
    said = found_of(data, [changed[0], changed[1], right]).to_json()
    assert (said["made_wrong"], said["removed"]) == (len(changed), 3)
    assert said["precision"] == pytest.approx(2 / 3)
    assert said["recall"] == pytest.approx(2 / len(changed))
    assert said["agreement"] == pytest.approx(27 / 30)
    assert found_of(data, []).to_json()["precision"] is None


def test_unknown_labels_do_not_count_as_disagreement():
    noted, likely = np.array([0, IGNORE_INDEX]), np.array([[0.9, 0.1], [0.9, 0.1]])
    made = np.zeros(2, dtype=bool)
    config = cleaning.CleanConfig(name="confident_learning")
    assert Cleaning(config, ("a", "b"), noted, likely, made, None, ("x", "y")).to_json()["agreement"] == 1.0


def test_the_network_of_a_fold_learns_alone_for_its_own_epochs(tmp_path):
    recipe = recipe_of(
        tmp_path,
        {**CLEAN, "epochs": 7},
        method={"name": "distillation"},
        training={"average": {"kind": "swa"}},
    )
    alone = for_folds(recipe, recipe.data.clean)
    assert (alone.training.epochs, alone.training.average) == (7, None)
    assert assemble(alone).teacher is None
    assert for_folds(recipe, recipe.data.clean.model_copy(update={"epochs": None})).training.epochs == 2


def test_networks_are_asked_about_patients_that_they_have_not_seen(tmp_path, monkeypatch):
    """Every case is asked about once, by a network that learnt from all patients of the other fold."""
    seen, asked, step, ask = [set()], [], DistillationModule.training_step, cleaning.answer_images

    def watched(self, batch, batch_index):
        seen[-1].update(batch["case_id"])
        return step(self, batch, batch_index)

    def listened(network, loader, *, cases, **more):
        asked.append(list(cases))
        seen.append(set())
        return ask(network, loader, cases=cases, **more)

    monkeypatch.setattr(DistillationModule, "training_step", watched)
    monkeypatch.setattr(cleaning, "answer_images", listened)
    monkeypatch.setattr(cleaning, "wrong_labels", lambda noted, *_, **__: np.zeros(len(noted), dtype=bool))
    recipe = recipe_of(tmp_path, {**CLEAN, "epochs": 1})
    data = TaskData.from_recipe(recipe)
    found = find_wrong(recipe, recipe.data.clean, data)
    cases = data.cases("train")
    assert sorted(case for fold in asked for case in fold) == sorted(cases) == sorted(found.cases)
    for learnt, fold in zip(seen, asked, strict=False):
        assert learnt == set(cases) - set(fold)
        assert not {cases[case].group for case in learnt} & {cases[case].group for case in fold}
    assert np.allclose(found.probabilities.sum(1), 1)
    assert not data.left_out()


@pytest.mark.slow
@needs_cleanlab
def test_wrong_labels_of_what_can_be_seen_are_found(tmp_path):
    """A bright patch tells the class: most labels that noise made wrong are found, and few others."""
    class_tree(tmp_path / "classes", per_class=60, classes=3)
    recipe = recipe_of(tmp_path, {**CLEAN, "epochs": 15}, data={"noise": NOISE}, training={"lr": 0.02})
    data = TaskData.from_recipe(recipe)
    data.decode()
    said = find_wrong(recipe, recipe.data.clean, data).to_json()
    assert said["made_wrong"] > 10
    assert said["recall"] > 0.6
    assert said["precision"] > 0.6
    assert not data.left_out()
