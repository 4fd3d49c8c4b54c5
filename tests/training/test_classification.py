"""Labels of whole images from the recipe to the table of a study, by the command line."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml

from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.data.images import read_image
from meddistill.data.resize import resize_image
from meddistill.evaluation import AnswerTable
from meddistill.evaluation.class_metrics import CLASS_METRICS
from meddistill.models import load_model
from meddistill.training.data import TaskData
from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder, read_json
from tests import answer_recipes
from tests.data.builders import truncate, write_image
from tests.report.markup import check_accessible_and_alone

TASKS = {
    "classes": answer_recipes.classes,
    "labels": answer_recipes.labels,
    "medmnist": answer_recipes.medmnist,
}


def said(capfd, *command):
    capfd.readouterr()
    code = run([str(word) for word in command])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


def refused(capfd, *command):
    capfd.readouterr()
    assert run([str(word) for word in command]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def written(place, recipe, name="recipe.yaml"):
    (place / name).write_text(yaml.safe_dump(recipe))
    return place / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """For each task a teacher and a distilled student, trained and scored by the command line."""
    found = {}
    for task, make in TASKS.items():
        place = tmp_path_factory.mktemp(task)
        taught = {"method": {"name": "distillation"}, "teacher": {"path": str(place / "alone")}}
        for row, changes in (("alone", {"data": {"augment": "light"}}), ("kd", taught)):
            recipe = written(place, make(place, **changes), f"{row}.yaml")
            assert run(["train", str(recipe), "-o", str(place / row)]) == 0
        found[task] = place
    return found


@pytest.mark.parametrize("task", TASKS)
def test_a_run_leaves_answers_summary_and_page(trained, task):
    for row in ("alone", "kd"):
        folder = RunFolder(trained[task] / row)
        summary = read_json(folder.summary())
        assert summary["task"] == ("multi_label" if task == "labels" else "classification")
        assert list(summary["metrics"]) == list(CLASS_METRICS)
        answers = AnswerTable.read_csv(folder.scores())
        assert len(answers) == summary["counts"]["cases"]
        history = list(csv.DictReader(folder.history.open()))
        assert all(0 <= float(line["selection_auroc"]) <= 1 for line in history)
        best = max(range(2), key=lambda epoch: float(history[epoch]["selection_auroc"]))
        assert folder.read_state()["best_epoch"] == best
        page = check_accessible_and_alone(folder.report.read_text(encoding="utf-8"))
        captions = [caption.text for caption in page.all("caption")]
        assert any("Scores of each class, test split" in caption for caption in captions)
        assert "AUROC" in page.all("p", **{"class": "verdict"})[0].text
        titles = [strong.text for strong in page.all("strong")]
        assert ("Confusion matrix" in titles) == (task != "labels")
        assert "ROC curves" in titles
        assert len(page.all("figure")) >= summary["counts"]["wrong"] if task == "medmnist" else True


@pytest.mark.parametrize("task", TASKS)
def test_the_answers_are_those_of_the_chosen_weights(trained, task):
    folder = RunFolder(trained[task] / "kd")
    recipe = check_recipe(yaml.safe_load(folder.config.read_text()))
    data = TaskData.from_recipe(recipe)
    spec, student = load_model(folder.weights)
    assert (spec.task, spec.class_names) == (data.task, data.source.class_names)
    answers = AnswerTable.read_csv(folder.scores())
    batch = next(iter(data.loader("test", batch_size=100)))
    assert answers.cases.tolist() == batch["case_id"]
    assert np.array_equal(answers.labels, batch["label"].numpy())
    with torch.no_grad():
        logits = student(batch["image"]).double()
    expected = logits.sigmoid() if task == "labels" else logits.softmax(1)
    assert np.allclose(answers.probabilities, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_teacher_is_checked_calibrated_and_stored(trained, task):
    folder = RunFolder(trained[task] / "kd")
    check = read_json(folder.teacher_check)
    assert check["split"] == "selection"
    assert ("mean_auroc" if task == "labels" else "accuracy") in check
    assert read_json(folder.calibration)["temperature"] > 0
    store = read_json(folder.teacher_store)
    assert store["differences"][0]["largest"] < 0.001
    assert store["rows"] == read_json(folder.environment)["split_counts"]["train"]


def test_a_student_learns_what_can_be_seen(tmp_path):
    """A bright patch tells the class: with a little training every answer is right."""
    recipe = answer_recipes.medmnist(tmp_path, training={"epochs": 25, "lr": 0.02}, data={"size": [32, 32]})
    folder = fit(check_recipe(recipe), tmp_path / "run")
    from meddistill.training.evaluate import evaluate

    assert evaluate(folder.root)["metrics"]["auroc"]["mean"] > 0.95


@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_ends_as_an_uninterrupted_one(trained, tmp_path, task):
    recipe = TASKS[task](
        trained[task], method={"name": "supervised", "class_weights": "balanced"}, data={"balanced": True}
    )
    whole = fit(check_recipe(recipe), tmp_path / "whole")
    part = RunFolder(tmp_path / "part")
    shutil.copytree(whole.root, part.root)
    stop = TASKS[task](
        trained[task], training={"epochs": 1}, method=recipe["method"], data={"balanced": True}
    )
    shutil.rmtree(part.root)
    fit(check_recipe(stop), part.root)
    part.config.write_text(whole.config.read_text())
    part.write_state(state="running")
    fit(check_recipe(recipe), part.root, resume=True)
    first, second = (load_model(folder.last_weights)[1].state_dict() for folder in (whole, part))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("task", TASKS)
def test_evaluate_scores_another_split_once(trained, task, capfd):
    folder = RunFolder(trained[task] / "kd")
    first = said(capfd, "evaluate", folder.root, "--split", "selection")
    assert "selection auroc" in first
    assert "selection counts: cases " in first
    stamp = folder.scores("selection").stat().st_mtime_ns
    said(capfd, "evaluate", folder.root, "--split", "selection")
    assert folder.scores("selection").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("task", TASKS)
def test_compare_tests_rows_by_the_bootstrap(trained, task, capfd, tmp_path):
    out = said(capfd, "compare", trained[task] / "alone", trained[task] / "kd", "-o", tmp_path / "t.csv")
    assert "| AUROC ↑ | kd - alone |" in out
    assert "Bootstrap test" in out
    rows = {(row["row"], row["metric"]): row for row in csv.DictReader((tmp_path / "t.csv").open())}
    mean = read_json(RunFolder(trained[task] / "kd").summary())["metrics"]["auroc"]["mean"]
    assert float(rows["kd", "auroc"]["mean"]) == pytest.approx(mean)


def test_runs_of_different_tasks_are_not_compared(trained, teacher_run, tmp_path, capfd):
    line = refused(capfd, "compare", trained["classes"] / "alone", trained["medmnist"] / "kd")
    assert "have other classes" in line
    shutil.copytree(teacher_run.root, tmp_path / "maps")
    assert run(["evaluate", str(tmp_path / "maps")]) == 0
    line = refused(capfd, "compare", tmp_path / "maps", trained["classes"] / "kd")
    assert "row maps was scored on maps and row kd on whole images" in line


@pytest.mark.parametrize("task", ["classes", "labels"])
def test_predict_writes_a_csv_of_probabilities(trained, task, tmp_path, capfd):
    images = trained[task] / ("classes" if task == "classes" else "labels/images")
    out = tmp_path / "answers.csv"
    assert said(capfd, "predict", trained[task] / "kd", images, "-o", out).strip() == f"answers in {out}"
    spec, student = load_model(RunFolder(trained[task] / "kd").weights)
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == ["image", "answer", *(f"p_{name}" for name in spec.class_names)]
    for row in rows[::7]:
        image = torch.from_numpy(read_image(images / row["image"]))
        with torch.no_grad():
            logits = student(resize_image(image, (16, 16), "area").float()[None] / 255)[0].double()
        p = logits.sigmoid() if task == "labels" else logits.softmax(0)
        assert [float(row[f"p_{name}"]) for name in spec.class_names] == pytest.approx(p.tolist(), abs=1e-5)
        if task == "classes":
            assert row["answer"] == spec.class_names[int(p.argmax())]
        else:
            held = [name for name, value in zip(spec.class_names, p, strict=True) if value > 0.5]
            assert row["answer"] == ("|".join(held) or "none of the labels")
    line = refused(capfd, "predict", trained[task] / "kd", images, "-o", out)
    assert "is there already" in line


def test_predict_into_a_folder_names_broken_images_and_keeps_the_others(trained, tmp_path, capfd):
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (30, 30), dtype=np.uint8)
        write_image(tmp_path / f"new/{number}.png", noise)
    truncate(tmp_path / "new/1.png")
    write_image(tmp_path / "new/2_mask.png")
    line = refused(capfd, "predict", trained["classes"] / "kd", tmp_path / "new", "-o", tmp_path / "out")
    assert "1 of 3 images have no line" in line
    rows = list(csv.DictReader((tmp_path / "out/predictions.csv").open()))
    assert [row["image"] for row in rows] == ["0.png", "2.png"]


def test_a_further_test_set_is_scored(trained, tmp_path, capfd):
    place = trained["classes"]
    far = {"kind": "class_folder", "root": str(answer_recipes.class_tree(tmp_path / "far", classes=3))}
    recipe = answer_recipes.classes(place, tests={"far": {"source": far}}, training={"epochs": 1})
    out = said(capfd, "train", written(tmp_path, recipe), "-o", tmp_path / "run")
    assert "far auroc" in out
    page = check_accessible_and_alone(RunFolder(tmp_path / "run").report.read_text(encoding="utf-8"))
    assert any("Scores of each class, test set far" in caption.text for caption in page.all("caption"))
    wrong = {"kind": "medmnist", "file": answer_recipes.medmnist(tmp_path)["data"]["source"]["file"]}
    recipe["tests"]["far"]["source"] = wrong
    line = refused(capfd, "train", written(tmp_path, recipe), "-o", tmp_path / "other")
    assert "but the student tells apart healthy, sick, worse" in line


def test_an_ensemble_of_labels_teaches(trained, tmp_path, capfd):
    place = trained["labels"]
    members = [{"path": str(place / row)} for row in ("alone", "kd")]
    recipe = answer_recipes.labels(
        place,
        method={"name": "distillation"},
        teacher={"members": members, "weights": "validation_per_class"},
    )
    out = said(capfd, "train", written(tmp_path, recipe), "-o", tmp_path / "run")
    assert "mean AUROC" in out


@pytest.mark.parametrize("mode", ["live", "replay"])
def test_teachers_answer_live_and_for_views(trained, tmp_path, mode):
    recipe = answer_recipes.labels(
        trained["labels"],
        method={"name": "distillation"},
        teacher={"path": str(trained["labels"] / "alone"), "mode": mode, "views": 2},
        data={"augment": "light"},
        training={"epochs": 1},
    )
    folder = fit(check_recipe(recipe), tmp_path / "run")
    assert folder.teacher_store.exists() == (mode == "replay")


def test_bench_times_the_steps(trained, tmp_path, capfd):
    recipe = answer_recipes.labels(
        trained["labels"], method={"name": "distillation"}, teacher={"path": str(trained["labels"] / "alone")}
    )
    assert "teacher" in said(capfd, "bench", written(tmp_path, recipe), "--steps", "2")


def test_annotate_stores_the_logits(trained, tmp_path, capfd):
    recipe = answer_recipes.classes(trained["classes"], teacher={"path": str(trained["classes"] / "alone")})
    out = said(capfd, "annotate", written(tmp_path, recipe), "-o", tmp_path / "store")
    assert "teacher store" in out


@pytest.mark.parametrize("what", ["folder", "npz", "table"])
def test_inspect_knows_the_layouts(trained, what, capfd):
    command = {
        "folder": [trained["classes"] / "classes"],
        "npz": [trained["medmnist"] / "tiny.npz"],
        "table": [trained["labels"] / "labels/list.csv", "--kind", "table", "--image", "Image Index",
                  "--label", "Finding Labels", "--separator", "'|'", "--root",
                  trained["labels"] / "labels/images"],
    }[what]  # fmt: skip
    assert "Labels of images" in said(capfd, "inspect", *command)


MISTAKES = [
    (
        {"model": {"name": "pcd/unet"}},
        "pcd/unet answers for every pixel, but data.source has labels of whole",
    ),
    ({"method": {"name": "paced", "mode": "tpl"}}, "method.name: paced learns from maps"),
    ({"data": {"supervision": {"full_groups": 1, "full_per_batch": 1}}}, "data.supervision is for maps"),
    ({"data": {"patch": [8, 8, 8], "size": None}}, "data.patch is for maps"),
    ({"model": {"name": "timm/vit_tiny_patch16_224", "options": {}}}, "takes images of [224, 224] alone"),
    ({"method": {"name": "supervised", "class_weights": [1, 2]}}, "class_weights holds 2 numbers"),
    ({"method": {"name": "supervised", "class_weights": "equal"}}, "class_weights must be 'balanced'"),
    ({"data": {"source": {"clas_names": ["a", "b"]}}}, "did you mean 'class_names'"),
    ({"data": {"source": {"class_names": ["healthy", "sick"]}}}, "unknown class 'worse'"),
    ({"data": {"source": {"root": "/nowhere"}}}, "data.source.root: /nowhere does not exist"),
]


@pytest.mark.parametrize(
    ("changes", "message"), MISTAKES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_mistakes_are_told_in_one_line(trained, tmp_path, capfd, changes, message):
    recipe = answer_recipes.classes(trained["classes"], **changes)
    assert message in refused(capfd, "train", written(tmp_path, recipe), "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_of_timm_still_needs_labels_of_images(tmp_path, capfd):
    from tests.recipes import tiny

    line = refused(
        capfd, "train", written(tmp_path, tiny(model=answer_recipes.MODEL)), "-o", tmp_path / "run"
    )
    assert "answers once per image" in line
    assert "class_folder" in line


def test_balanced_batches_and_mixed_supervision_exclude_each_other(tmp_path, capfd):
    from tests.recipes import tiny

    data = {"balanced": True, "supervision": {"full_groups": 2, "full_per_batch": 1}}
    line = refused(capfd, "train", written(tmp_path, tiny(data=data)), "-o", tmp_path / "run")
    assert "data.balanced and data.supervision both say" in line


def test_balanced_batches_draw_each_class_equally_often(trained):
    place = trained["classes"]
    recipe = answer_recipes.classes(
        place, data={"balanced": True, "source": {"class_names": ["healthy", "sick", "worse"]}}
    )
    data = TaskData.from_recipe(check_recipe(recipe))
    fewer = data.split.cases["train"]
    kept = [case for case in fewer if case.stratum != "sick"] + [
        case for case in fewer if case.stratum == "sick"
    ][:2]
    data.split = type(data.split)({**data.split.cases, "train": tuple(kept)}, "")
    labels = torch.cat([batch["label"] for batch in data.training_loader(batch_size=4, seed=0, workers=0)])
    counts = labels.bincount().tolist()
    assert max(counts) - min(counts) <= 3


def test_maps_are_balanced_by_stratum(tmp_path):
    from tests.recipes import tiny_recipe

    data = TaskData.from_recipe(tiny_recipe(data={"balanced": True}))
    strata = {case.id: case.stratum for case in data.source.cases}
    drawn = [
        strata[name]
        for batch in data.training_loader(batch_size=4, seed=0, workers=0)
        for name in batch["case_id"]
    ]
    counts = [drawn.count(name) for name in set(drawn)]
    assert max(counts) - min(counts) <= 2
