"""What the uncertainty of a student is worth, from finished runs, by the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.evaluation import ScoreTable
from meddistill.evaluation.metrics import case_values
from meddistill.report import write_report
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder
from meddistill.training.uncertainty import Question, assess
from tests.answer_recipes import classes, labels
from tests.mistakes import check_mistake, made_run, snapshot
from tests.recipes import tiny, tiny_recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one row."""
    place = tmp_path_factory.mktemp("runs")
    training = {"epochs": 4, "lr": 0.01, "precision": "32"}
    return [fit(tiny_recipe(seed=seed, training=training), place / f"iid-s{seed}").root for seed in range(2)]


def test_evaluate_calibrates_and_examines_and_leaves_the_rest_alone(runs, capfd):
    evaluate(runs[0])
    before = snapshot(runs[0])
    assert run(["evaluate", str(runs[0]), "--calibrate", "temperature", "--uncertainty", "tta"]) == 0
    printed = capfd.readouterr().out
    assert "test ece of all pixels: " in printed
    assert "test entropy by case: auroc of errors " in printed
    after = snapshot(runs[0])
    changed = {name for name in after if after[name] != before.get(name)}
    files = ("uncertainty.json", "uncertainty-scores.csv", "calibrator.safetensors")
    new = {f"evaluation/{name}" for name in files}
    assert changed - {"report.html"} == new
    found = json.loads((runs[0] / "evaluation/uncertainty.json").read_text())
    fitted = found["calibration"]
    assert (fitted["kind"], fitted["fitted_on"], fitted["fitted_cases"]) == ("temperature", "calibration", 4)
    assert fitted["nll_after"] <= fitted["nll_before"]
    assert found["uncertainty"] == {"kind": "tta", "answers": 8, "border": 2}
    assert list(found["measures"]) == ["entropy", "disagreement"]
    assert list(found["measures"]["entropy"]) == ["cases", "pixels"]
    summary = json.loads(RunFolder(runs[0]).summary().read_text())
    assert found["uncalibrated"]["ece"] == pytest.approx(summary["dataset"]["ece"], abs=1e-6)
    assert found["uncalibrated"]["nll"] == pytest.approx(summary["dataset"]["nll"], rel=1e-5)
    assert found["measures"]["entropy"]["cases"]["refer"][0]["mean"] == pytest.approx(
        summary["metrics"]["dice_both_empty_1"]["mean"]
    )
    page = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert "With the least certain 10 % of the cases referred, the mean Dice of the rest is" in page
    assert "fitted on 4 cases of the calibration split." in page


def test_rows_hold_the_dice_that_evaluate_found(runs):
    evaluate(runs[0])
    assess(runs[0], Question())
    rows = list(csv.DictReader((runs[0] / "evaluation/uncertainty-scores.csv").open()))
    known = case_values(ScoreTable.read_csv(RunFolder(runs[0]).scores()), "dice_both_empty_1")
    assert [row["case"] for row in rows] == known.cases.tolist()
    assert [float(row["score"]) for row in rows] == pytest.approx(known.values.tolist())
    assert all(0 <= float(row["entropy"]) <= 1 for row in rows)


@pytest.mark.parametrize("kind", ["class", "local"])
def test_other_calibrations(runs, kind):
    found = assess(runs[0], Question(calibrate=kind), split="selection")
    fitted = found["calibration"]
    assert (found["split"], fitted["kind"]) == ("selection", kind)
    assert fitted["nll_after"] <= fitted["nll_before"]
    assert fitted["calibrated"]["pixels"] == found["uncalibrated"]["pixels"] == found["cases"] * 32 * 32


def test_an_ensemble_disagrees_where_its_members_differ(runs):
    found = assess(runs[0], Question(uncertainty="ensemble", members=(runs[1],)))
    assert found["uncertainty"]["answers"] == 2
    assert list(found["measures"]) == ["disagreement", "entropy"]
    rows = list(csv.DictReader((runs[0] / "evaluation/uncertainty-scores.csv").open()))
    assert any(float(row["disagreement"]) > 1e-5 for row in rows)
    assess(runs[0], Question(uncertainty="ensemble", members=(runs[0],)))
    rows = list(csv.DictReader((runs[0] / "evaluation/uncertainty-scores.csv").open()))
    assert all(float(row["disagreement"]) < 1e-6 for row in rows)


def test_without_a_calibration_split_the_selection_split_is_taken(tmp_path):
    mapping = tiny(training={"epochs": 1, "precision": "32"})
    mapping["data"]["splits"] = {"fractions": {"train": 0.6, "selection": 0.2, "test": 0.2}}
    folder = fit(check_recipe(mapping), tmp_path / "run")
    found = assess(folder.root, Question(calibrate="temperature"))
    assert found["calibration"]["fitted_on"] == "selection"
    write_report(folder)
    assert "selection split, which also chose the epoch." in folder.report.read_text(encoding="utf-8")


def test_volumes_are_examined_whole(tmp_path):
    mapping = tiny(training={"epochs": 1, "precision": "32", "batch_size": 2})
    mapping["data"] |= {
        "source": {"kind": "phantom", "cases": 6, "seed": 1},
        "splits": {"fractions": {"train": 0.34, "selection": 0.33, "test": 0.33}},
        "size": [32, 32, 32],
    }
    options = {"channels": [2, 4], "strides": [2], "num_res_units": 0, "dropout": 0.2}
    mapping["model"] = {"name": "monai/unet", "options": options}
    folder = fit(check_recipe(mapping), tmp_path / "run")
    evaluate(folder.root)
    dropped = assess(folder.root, Question(uncertainty="mc_dropout", passes=3))
    assert dropped["uncertainty"]["answers"] == 3
    assert dropped["calibration"] is None
    found = assess(folder.root, Question(calibrate="temperature", uncertainty="tta"))
    assert found["uncertainty"]["answers"] == 16
    assert found["uncalibrated"]["pixels"] == found["cases"] * 32**3
    summary = json.loads(folder.summary().read_text())
    assert found["uncalibrated"]["ece"] == pytest.approx(summary["dataset"]["ece"], abs=1e-6)
    assert found["measures"]["entropy"]["cases"]["refer"][0]["mean"] == pytest.approx(
        summary["metrics"]["dice_both_empty_1"]["mean"]
    )


@pytest.mark.parametrize(("made", "kind"), [(classes, "class"), (labels, "temperature")])
def test_answers_about_whole_images_are_examined(made, kind, tmp_path):
    folder = fit(check_recipe(made(tmp_path, training={"epochs": 1})), tmp_path / "run")
    summary = evaluate(folder.root)
    found = assess(folder.root, Question(calibrate=kind, uncertainty="tta"))
    assert found["uncertainty"]["answers"] == 8
    assert found["error_below"] is None
    assert list(found["measures"]["entropy"]) == ["cases"]
    assert found["uncalibrated"]["nll"] == pytest.approx(summary["dataset"]["nll"], rel=1e-4)
    assert found["uncalibrated"]["ece"] == pytest.approx(summary["dataset"]["ece"], abs=1e-6)
    if kind == "temperature":
        kept = found["measures"]["entropy"]["cases"]["refer"][0]["mean"]
        assert kept == pytest.approx(summary["metrics"]["accuracy"]["mean"], abs=0.05)


def mistakes(place: Path) -> dict[str, tuple[list[str], tuple[str, ...]]]:
    folder = str(made_run(place / "made", dice=(0.5, 0.7)))
    return {
        "way": (["--uncertainty", "entropi"], ("unknown way 'entropi'; did you mean 'entropy'",)),
        "calibration": (["--calibrate", "warm"], ("unknown calibration 'warm'",)),
        "alone": (["--uncertainty", "ensemble"], ("give --members RUN...",)),
        "members": (["--uncertainty", "tta", "--members", folder], ("belong to --uncertainty ensemble",)),
    }


@pytest.mark.parametrize("name", ["way", "calibration", "alone", "members"])
def test_what_cannot_be_meant_is_refused_before_anything_is_computed(name, tmp_path, capfd):
    options, says = mistakes(tmp_path)[name]
    check_mistake(["evaluate", str(tmp_path / "made"), *options], says, tmp_path, capfd)


def test_what_does_not_suit_the_student_is_refused(runs, tmp_path, capfd):
    place = tmp_path / "copy"
    evaluate(runs[0])
    shutil.copytree(runs[0], place)
    write_report(place)
    other = made_run(tmp_path / "other")
    (other / "student.safetensors").unlink()
    for options, says in (
        (["--uncertainty", "mc_dropout"], ("mc_dropout needs a student with dropout layers",)),
        (["--uncertainty", "ensemble", "--members", str(other)], ("student.safetensors is missing",)),
    ):
        check_mistake(["evaluate", str(place), *options], says, tmp_path, capfd)
