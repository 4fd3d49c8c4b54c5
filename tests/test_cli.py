"""The command line from its help to a whole study."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from meddistill import __version__
from meddistill.cli import app, data_app, run
from meddistill.config.load import shipped_recipes
from meddistill.training.run_folder import RunFolder, read_json
from tests.data.builders import manifest
from tests.recipes import PACED, write_recipe
from tests.studies import train_here

COMMANDS = [[command.callback.__name__] for command in app.registered_commands]
DATA_COMMANDS = [["data", command.callback.__name__] for command in data_app.registered_commands]


def said(capfd, *command: str) -> str:
    """What a command that succeeds prints."""
    capfd.readouterr()
    code = run(list(command))
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "Traceback" not in err
    return out


# Help


def test_the_commands_are_known():
    names = [
        "train",
        "annotate",
        "evaluate",
        "compare",
        "study",
        "demo",
        "predict",
        "export",
        "robustness",
        "inspect",
        "bench",
        "report",
        "recipes",
    ]
    assert [[name] for name in names] == COMMANDS
    assert DATA_COMMANDS == [["data", "fetch"], ["data", "phantom"]]


def test_help_names_every_command(capfd):
    out = said(capfd, "--help")
    assert all(f" {command[0]} " in out for command in COMMANDS)
    assert " data " in out


@pytest.mark.parametrize("command", [*COMMANDS, *DATA_COMMANDS], ids=" ".join)
def test_the_help_of_every_command_has_an_example(command, capfd):
    out = " ".join(said(capfd, *command, "--help").split())
    assert "Example: " in out
    assert f"meddistill {' '.join(command)}" in out.partition("Example: ")[2]


@pytest.mark.parametrize("command", [[], ["data"]], ids=["meddistill", "data"])
def test_no_command_prints_the_help_and_is_no_success(command, capfd):
    assert run(command) == 2
    assert "Commands" in "".join(capfd.readouterr())


def test_version(capfd):
    assert said(capfd, "--version").strip() == __version__


def test_help_loads_no_library():
    heavy = ("torch", "monai", "lightning", "numpy", "scipy", "timm")
    code = (
        "import sys; from meddistill.cli import run; run(['train', '--help']);"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_warnings_of_the_libraries_are_not_shown(monkeypatch, recwarn, capfd):
    """They are hints to programmers, and would stand beside the one line of an error."""
    import warnings

    def warn(name: str) -> Path:
        warnings.warn("a hint", stacklevel=1)
        return next(iter(shipped_recipes().values()))

    monkeypatch.setattr("meddistill.config.load.find_recipe", warn)
    monkeypatch.setattr(sys, "warnoptions", [])
    said(capfd, "recipes", "phantom-demo")
    assert not recwarn.list


# Recipes and data


def test_recipes_are_listed_and_printed(capfd):
    listed = said(capfd, "recipes").splitlines()
    assert [line.split()[0] for line in listed] == list(shipped_recipes())
    for name, file in shipped_recipes().items():
        assert said(capfd, "recipes", name) == file.read_text(encoding="utf-8")


def test_a_phantom_is_written_and_passes_inspection(tmp_path, capfd):
    folder = tmp_path / "phantom"
    said(capfd, "data", "phantom", "-o", str(folder), "--cases", "6", "--size", "32", "--seed", "3")
    masks = list(folder.glob("*/*_mask.png"))
    assert len(masks) == 6
    assert Image.open(masks[0]).size == (32, 32)
    out = said(capfd, "inspect", str(folder), "--json", str(tmp_path / "findings.json"))
    assert "6 cases: 0 errors" in out
    assert json.loads((tmp_path / "findings.json").read_text())["num_cases"] == 6


def test_a_leaking_manifest_fails_inspection_and_says_which_patient(tmp_path, capfd):
    run(["data", "phantom", "-o", str(tmp_path / "phantom"), "--cases", "4", "--size", "32"])
    images = sorted(p for p in (tmp_path / "phantom").glob("*/*.png") if "_mask" not in p.name)
    splits = ("train", "train", "test", "test")
    rows = [
        {"image": str(image.relative_to(tmp_path)), "group": f"patient {n % 2}", "split": split}
        for n, (image, split) in enumerate(zip(images, splits, strict=True))
    ]
    capfd.readouterr()
    file = manifest(tmp_path / "list.csv", rows)
    assert run(["inspect", str(file), "--class_names", "[background, lesion]"]) == 2
    out, err = capfd.readouterr()
    assert "patient 0" in out
    assert "patient 1" in out
    assert err.startswith("error: ")


# The whole way


@pytest.fixture(scope="module")
def runs(teacher_run, tmp_path_factory) -> dict[str, RunFolder]:
    """A scored teacher and two students trained by the command line."""
    place = tmp_path_factory.mktemp("runs")
    shutil.copytree(teacher_run.root, place / "iid")
    assert run(["evaluate", str(place / "iid")]) == 0
    taught = {"teacher": {"path": str(place / "iid")}, "training": {"epochs": 2}}
    for name, method in (("kd", {"name": "distillation"}), ("pcd", PACED)):
        recipe = write_recipe(place, method=method, **taught)
        assert run(["train", str(recipe), "-o", str(place / name), "--training.lr", "0.01"]) == 0
    return {name: RunFolder(place / name) for name in ("iid", "kd", "pcd")}


def test_training_scores_the_test_split_and_writes_the_report(runs):
    for student in (runs["kd"], runs["pcd"]):
        assert student.finished
        assert yaml.safe_load(student.config.read_text())["training"]["lr"] == 0.01
        assert read_json(student.summary())["counts"]["cases"] == 4
        assert "<html" in student.report.read_text(encoding="utf-8")
    assert read_json(runs["pcd"].calibration)["temperature"] > 0


def test_training_says_what_the_teacher_scores_and_refuses_one_below_the_floor(runs, tmp_path, capfd):
    teacher = {"path": str(runs["iid"].root)}
    recipe = write_recipe(
        tmp_path, teacher=teacher, method={"name": "distillation"}, training={"epochs": 1, "batch_size": 8}
    )
    out = said(capfd, "train", str(recipe), "-o", str(tmp_path / "run"), "--teacher-floor", "0")
    first = out.splitlines()[0]
    assert first.startswith("teacher 'iid': mean Dice 0.")
    assert first.endswith(")")
    assert " on 4 selection cases (lesion 0." in first
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["teacher"]["floor"] == 0
    assert run(["train", str(recipe), "-o", str(tmp_path / "no"), "--teacher-floor=0.999"]) == 2
    assert "below the floor of 0.999" in capfd.readouterr().err
    assert not (tmp_path / "no").exists()


def test_evaluate_scores_another_split_once(runs, capfd):
    student = runs["kd"]
    first = said(capfd, "evaluate", str(student.root), "--split", "selection")
    assert "selection dice " in first
    assert "selection counts: cases 4" in first
    written = student.scores("selection").stat().st_mtime_ns
    assert said(capfd, "evaluate", str(student.root), "--split", "selection") == first
    assert student.scores("selection").stat().st_mtime_ns == written
    assert said(capfd, "evaluate", str(student.root), "--split", "selection", "--again") == first
    assert student.scores("selection").stat().st_mtime_ns > written


def test_compare_prints_and_writes_the_table(runs, tmp_path, capfd):
    table = tmp_path / "table.csv"
    out = said(capfd, "compare", *(str(r.root) for r in runs.values()), "-o", str(table))
    assert all(f"| {name} |" in out for name in runs)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["row"] for row in rows} == {"iid", "kd", "pcd"}
    kd = next(row for row in rows if (row["row"], row["metric"]) == ("kd", "dice"))
    mean = read_json(runs["kd"].summary())["metrics"]["dice"]["mean"]
    assert float(kd["mean"]) == pytest.approx(mean)


def test_predict_writes_a_mask_for_every_image(runs, tmp_path, capfd):
    said(capfd, "data", "phantom", "-o", str(tmp_path / "new"), "--cases", "3", "--size", "48")
    out = said(capfd, "predict", str(runs["kd"].root), str(tmp_path / "new"), "-o", str(tmp_path / "masks"))
    assert out.strip() == f"3 masks in {tmp_path / 'masks'}"
    masks = list((tmp_path / "masks").rglob("*_mask.png"))
    assert [Image.open(mask).size for mask in masks] == [(48, 48)] * 3


def test_report_is_written_again(runs, capfd):
    page = runs["pcd"].report
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert said(capfd, "report", str(runs["pcd"].root)).strip() == f"report: {page}"
    assert page.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("trains", ["here", pytest.param("in processes", marks=pytest.mark.slow)])
def test_a_study_trains_every_row_once(trains, tmp_path, capfd, monkeypatch):
    if trains == "here":
        train_here(monkeypatch)
    rows = {"iid": {}, "kd": {"teacher": {"row": "iid"}, "method": {"name": "distillation"}}}
    recipe = write_recipe(tmp_path, study={"rows": rows, "baseline": "iid"}, training={"epochs": 1})
    out = tmp_path / "study"
    command = ("study", str(recipe), "-o", str(out), "--jobs", "2", "--teacher-floor", "0")
    first = said(capfd, *command)
    assert "2 runs in" in first
    assert yaml.safe_load((out / "recipes" / "kd-s0.yaml").read_text())["teacher"]["floor"] == 0
    assert "[2/2] kd-s0 finished" in first
    weights = {name: (out / "runs" / name / "student.safetensors").stat() for name in ("iid-s0", "kd-s0")}
    logs = {log.name: log.read_text() for log in (out / "logs").iterdir()}
    second = said(capfd, *command)
    assert "2 of 2 runs are finished already" in second
    assert "[" not in second.partition("|")[0]
    assert {n: (out / "runs" / n / "student.safetensors").stat() for n in weights} == weights
    assert {log.name: log.read_text() for log in (out / "logs").iterdir()} == logs
    assert {row["row"] for row in csv.DictReader((out / "table.csv").open())} == {"iid", "kd"}
    assert (out / "report.html").is_file()
    costs = {row["Row"]: float(row["Inference time"]) for row in csv.DictReader((out / "costs.csv").open())}
    assert costs["iid"] == costs["kd"] > 0
