"""RoS-KD and its peers on labels of whole images, with members of three architectures, stored and live."""

from __future__ import annotations

import csv

import pytest
import torch

from meddistill.config.load import check_recipe
from meddistill.methods import METHODS
from meddistill.models import ModelSpec, load_model, save_weights
from meddistill.training.assembly import assemble
from meddistill.training.fit import fit
from meddistill.training.member_storing import stores_for
from meddistill.training.run_folder import read_json
from tests import answer_recipes

TASKS = {"classes": answer_recipes.classes, "labels": answer_recipes.labels}
NAMES = {"classes": ("healthy", "sick", "worse"), "labels": ("bottom", "top")}
NETWORKS = ("resnet", "convnext", "efficientnet")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def members(place):
    """For each task three teachers with random weights."""
    found = {}
    for task, names in NAMES.items():
        kind = "multi_label" if task == "labels" else "classification"
        paths = [place / f"{task}-{network}.safetensors" for network in NETWORKS]
        for number, (network, path) in enumerate(zip(NETWORKS, paths, strict=True)):
            torch.manual_seed(number)
            spec = ModelSpec(
                f"timm/test_{network}", num_classes=len(names), class_names=names, size=(32, 32), task=kind
            )
            save_weights(spec.build(), spec, path)
        found[task] = [{"path": str(path)} for path in paths]
    return found


def recipe_of(task, place, method="stochastic", **changes):
    changes["data"] = {"size": [32, 32], **changes.get("data", {})}
    changes["training"] = {"epochs": 1, **changes.get("training", {})}
    return check_recipe(TASKS[task](place, method={"name": method}, **changes))


def stored_of(recipe, folder):
    task = assemble(recipe)
    task.ready(torch.device("cpu"))
    return task, stores_for(recipe, task.data, task.teacher, folder, method=task.method)


def likely(logits, task):
    return logits.sigmoid() if task == "labels" else logits.softmax(-1)


@pytest.mark.parametrize("encoding", ["float16", "uint8"])
@pytest.mark.parametrize("task", TASKS)
def test_stored_members_answer_as_live_ones(place, members, tmp_path, task, encoding):
    recipe = recipe_of(task, place, teacher={"members": members[task], "encoding": encoding})
    made, stored = stored_of(recipe, tmp_path)
    batch = next(iter(made.data.loader("train", batch_size=6)))
    found = stored.of_members(batch["case_id"]).read([(0, n) for n in range(6)])
    live = made.teacher.answers(batch["image"])
    assert found.shape == live.shape == (6, 3, len(NAMES[task]))
    tolerance = 3e-4 if encoding == "float16" else 1 / 255
    torch.testing.assert_close(likely(found, task), likely(live, task), atol=tolerance, rtol=0)
    joined = stored.of_images(batch["case_id"]).read([(0, n) for n in range(6)])
    expected = likely(made.teacher(batch["image"]), task)
    torch.testing.assert_close(likely(joined, task), expected, atol=2 * tolerance, rtol=0)


@pytest.mark.parametrize("task", TASKS)
def test_what_is_said_of_an_image_holds_for_its_changed_ones(place, members, tmp_path, task):
    recipe = recipe_of(task, place, teacher={"members": members[task]}, data={"augment": "medium"})
    made, stored = stored_of(recipe, tmp_path)
    cases = tuple(made.data.cases("train"))
    batch = next(iter(made.training_loader(stored.logits(cases, seed=0))))
    rows = [(0, index) for index in batch["index"].tolist()]
    assert torch.equal(batch["teacher_logits"], stored.of_members(cases).read(rows))
    plain = made.data.dataset("train").cache.images.read(batch["index"].tolist()).float() / 255
    assert not torch.equal(batch["image"], plain)


@pytest.mark.parametrize("teacher", [{"encoding": "uint8"}, {"mode": "live"}], ids=["joint", "live"])
@pytest.mark.parametrize("task", TASKS)
def test_robust_distillation_trains_from_members(place, members, tmp_path, task, teacher):
    recipe = recipe_of(
        task, place, teacher={"members": members[task], **teacher},
        training={"epochs": 2, "average": {"kind": "swa", "start": 0.5}},
    )  # fmt: skip
    run = fit(recipe, tmp_path / "run")
    history = list(csv.DictReader(run.history.open()))
    assert all(float(line["train_kd"]) > 0 and float(line["train_ce"]) > 0 for line in history)
    check = read_json(run.teacher_check)
    assert list(check["description"]["members"]) == [f"{task}-{network}" for network in NETWORKS]
    assert check["split"] == "selection"
    assert read_json(run.calibration)["temperature"] > 0
    assert run.teacher_store.exists() == (teacher.get("mode") != "live")


@pytest.mark.parametrize("method", ["label_smoothing", "symmetric_cross_entropy", "co_teaching"])
@pytest.mark.parametrize("task", TASKS)
def test_its_controls_train(place, tmp_path, monkeypatch, task, method):
    seen, call = [], METHODS[method].__call__

    def watched(self, answer, /, batch, teacher_logits=None):
        seen.append(tuple(batch["label"].shape[1:]))
        return call(self, answer, batch, teacher_logits)

    monkeypatch.setattr(METHODS[method], "__call__", watched)
    run = fit(recipe_of(task, place, method), tmp_path / "run")
    assert set(seen) == {(2,) if task == "labels" else ()}
    assert load_model(run.weights)[0].form == ("twin" if method == "co_teaching" else "single")


@pytest.mark.parametrize("mode", ["joint", "live"])
@pytest.mark.parametrize("task", TASKS)
def test_the_best_member_is_chosen_by_the_selection_split(place, members, tmp_path, task, mode):
    """The student of the best of three is that of this one as its only teacher."""
    given = {"members": members[task], "weights": "best", "mode": mode}
    best = fit(recipe_of(task, place, "distillation", teacher=given), tmp_path / "best")
    check = read_json(best.teacher_check)
    scores = check["description"]["scores"]
    assert list(scores) == [f"{task}-{network}" for network in NETWORKS]
    chosen = max(scores, key=scores.get)
    assert check["description"]["best"] == chosen
    assert check["name"] == f"{chosen} (best of 3)"
    assert scores[chosen] == check["mean_auroc" if task == "labels" else "accuracy"]
    path = members[task][list(scores).index(chosen)]["path"]
    alone = fit(
        recipe_of(task, place, "distillation", teacher={"path": path, "mode": mode}), tmp_path / "alone"
    )
    assert best.weights.read_bytes() == alone.weights.read_bytes()
