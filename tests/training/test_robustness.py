"""Finished runs whose test images are disturbed, by the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.evaluation import ScoreTable
from meddistill.training.evaluate import evaluate
from meddistill.training.fit import fit
from meddistill.training.robustness import disturbances_of, robustness
from tests.mistakes import made_run, snapshot, the_line
from tests.recipes import tiny, tiny_recipe


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two rows of one seed, and a second seed of the first of them."""
    place = tmp_path_factory.mktemp("runs")
    for name, seed, lr in (("iid-s0", 0, 0.01), ("iid-s1", 1, 0.01), ("slow-s0", 0, 0.0001)):
        training = {"epochs": 2, "lr": lr, "precision": "32"}
        fit(tiny_recipe(seed=seed, training=training), place / name)
    return [str(place / name) for name in ("iid-s0", "iid-s1", "slow-s0")]


def test_runs_are_scored_under_each_attack_and_compared(runs, tmp_path, capfd):
    before = snapshot(Path(runs[0]))
    out = tmp_path / "out"
    assert run(["robustness", *runs, "--attack", "fgsm", "pgd", "--eps", "2", "8", "-o", str(out)]) == 0
    printed = capfd.readouterr().out
    assert "slow-s0 clean 0: dice " in printed
    assert "## pgd-8" in printed
    sets = ["clean", "fgsm-2", "fgsm-8", "pgd-2", "pgd-8"]
    for name in sets:
        clean, table = (ScoreTable.read_csv(out / "iid-s1" / f"{n}-scores.csv") for n in ("clean", name))
        assert table["case"].tolist() == clean["case"].tolist()
        assert table["nll"].mean() >= clean["nll"].mean()
        stored = json.loads((out / f"comparison-{name}.json").read_text())
        assert [(row["row"], row["seeds"]) for row in stored["rows"] if row["metric"] == "dice"] == [
            ("iid", 2),
            ("slow", 1),
        ]
        assert (out / f"table-{name}.md").exists()
    points = list(csv.DictReader((out / "curves.csv").open()))
    losses = {
        point["strength"]: float(point["mean"])
        for point in points
        if (point["run"], point["metric"]) == ("iid-s0", "nll") and point["disturbance"] in ("clean", "pgd")
    }
    assert list(losses) == ["0.0", "2.0", "8.0"]
    assert list(losses.values()) == sorted(losses.values())
    assert snapshot(Path(runs[0])) == before


def test_a_single_run_has_curves_and_no_comparison(runs, tmp_path):
    found = robustness(runs[:1], disturbances_of(["fgsm"], [4]), tmp_path / "out")
    assert found.comparisons == {}
    assert {(point["disturbance"], point["strength"]) for point in found.points} == {
        ("clean", 0.0),
        ("fgsm", 4),
    }
    files = sorted(path.name for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["clean-scores.csv", "curves.csv", "fgsm-4-scores.csv"]


def test_labels_are_those_that_the_run_is_scored_on(tmp_path):
    """Noise on the test split is drawn by the seed of the recipe, which is not the default one."""
    mapping = tiny(seed=7, training={"epochs": 1, "precision": "32"})
    mapping["data"]["noise"] = {"name": "erosion", "rate": 0.5, "width": 2, "splits": ["test"]}
    run_folder = fit(check_recipe(mapping), tmp_path / "noisy-s7")
    evaluate(run_folder.root)
    robustness([run_folder.root], disturbances_of(["fgsm"], [4]), tmp_path / "out")
    files = (tmp_path / "out" / "noisy-s7" / "clean-scores.csv", run_folder.scores())
    found, scored = (ScoreTable.read_csv(file) for file in files)
    for column in ("dice", "label_pixels"):
        assert found[column].tolist() == scored[column].tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--attack", "cw"], "unknown attack 'cw'; known: fgsm, pgd"),
        (["--eps", "300"], "300 is no strength"),
        (["--eps", "-1"], "-1 is no strength"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said, tmp_path, capfd):
    assert run(["robustness", str(made_run(tmp_path / "run")), *words, "-o", str(tmp_path / "out")]) == 2
    assert said in the_line(*capfd.readouterr())
    assert not (tmp_path / "out").exists()


def test_what_is_no_finished_run_is_refused(runs, tmp_path, capfd):
    halfway = made_run(tmp_path / "halfway", state="running")
    twin = shutil.copytree(runs[0], tmp_path / "iid-s0")
    for folders, said in (
        ([tmp_path], "is not a run folder"),
        ([halfway], "is not finished"),
        ([runs[0], twin], "two runs have the same name"),
    ):
        assert run(["robustness", *map(str, folders), "-o", str(tmp_path / "out")]) == 2
        assert said in the_line(*capfd.readouterr())
        assert not (tmp_path / "out").exists()
