"""The corruption sweep by the command line: what it scores, what it makes once, and how it goes on."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from meddistill.cli import run
from meddistill.data.resize import resize_image, resize_label
from meddistill.errors import DataError, RunError
from meddistill.evaluation import AnswerTable, ScoreTable, score_cases
from meddistill.evaluation.corruptions import case_seed, corrupt
from meddistill.training import corrupted_images
from meddistill.training.evaluate import chosen_student
from meddistill.training.finished_runs import finished_runs
from meddistill.training.robustness import robustness
from meddistill.training.sweep import Sweep, sweep
from sweep_task import finished_run
from tests import answer_recipes
from tests.data.builders import busi_tree
from tests.mistakes import snapshot, the_line
from tests.recipes import tiny

SPLITS = {"fractions": {"train": 0.4, "selection": 0.2, "test": 0.4}}
SPECKLE_AND_FOG = Sweep(["speckle", "fog"], [1, 3], jobs=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two rows, of which the second sees smaller images, and a second seed of the first."""
    place = tmp_path_factory.mktemp("runs")
    root = busi_tree(place / "data", per_class=5, size=(44, 36))
    for name, seed, size in (("iid-s0", 0, 48), ("iid-s1", 1, 48), ("small-s0", 2, 32)):
        data = {"source": {"kind": "folder", "root": str(root)}, "splits": SPLITS, "size": [size, size]}
        finished_run(place / name, tiny(seed=seed) | {"data": data})
    return [str(place / name) for name in ("iid-s0", "iid-s1", "small-s0")]


@pytest.fixture(scope="module")
def swept(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("swept") / "out"
    return out, robustness(runs, [], out, corruptions=SPECKLE_AND_FOG)


def test_scores_are_those_of_a_plain_loop(runs, swept):
    """For each run, kind, severity and image: corrupt, resize, predict, score."""
    out, _ = swept
    for tested in finished_runs(runs):
        _, student, device = chosen_student(tested.folder, tested.recipe)
        data = tested.data
        for kind, severity in (("speckle", 3), ("fog", 1)):
            batches = []
            for case in data.split.cases["test"]:
                pixels = data.source.read_image(case).astype(np.float32) / 255
                made = corrupt(pixels, kind, severity, seed=case_seed(0, kind, case.id))
                saved = torch.from_numpy(np.rint(made * 255).astype(np.uint8))
                image = resize_image(saved, data.config.shape, data.config.interpolation)
                label = resize_label(torch.from_numpy(data.source.read_label(case)), data.config.shape).long()
                batches.append(
                    {"image": image[None].float() / 255, "label": label[None], "case_id": [case.id]}
                )
            expected, _ = score_cases(
                student, batches, class_names=data.source.class_names, cases=data.cases("test"), device=device
            )
            found = ScoreTable.read_csv(out / tested.name / f"{kind}-{severity}-scores.csv")
            assert found["case"].tolist() == expected["case"].tolist()
            for column in ("dice", "ece", "nll"):
                np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, atol=1e-6)


def test_worker_processes_change_nothing(runs, swept, tmp_path):
    out, found = swept
    again = robustness(runs, [], tmp_path / "out", corruptions=Sweep(["fog", "speckle"], [3, 1], jobs=2))
    assert again.points == found.points
    before, now = snapshot(out), snapshot(tmp_path / "out")
    assert now == before


def test_an_image_is_corrupted_once_for_all_runs(runs, tmp_path, monkeypatch):
    made = []
    whole = corrupted_images.corrupted
    monkeypatch.setattr(corrupted_images, "corrupted", lambda *args: made.append(args[1:]) or whole(*args))
    cases = len(finished_runs(runs)[0].data.split.cases["test"])
    robustness(runs, [], tmp_path / "out", corruptions=Sweep(["speckle"], [1, 2], jobs=0))
    assert len(made) == 2 * cases


def test_what_is_there_is_not_made_again(runs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    whole = robustness(runs, [], out, corruptions=SPECKLE_AND_FOG)
    before = snapshot(out)
    (out / "small-s0" / "fog-1-scores.csv").unlink()
    made = []
    plain = corrupted_images.corrupted
    monkeypatch.setattr(corrupted_images, "corrupted", lambda *args: made.append(args[1:3]) or plain(*args))
    again = robustness(runs, [], out, corruptions=SPECKLE_AND_FOG)
    assert {(kind.name, severity) for kind, severity in made} == {("fog", 1)}
    assert again.points == whole.points
    assert snapshot(out) == before


def test_an_interrupted_sweep_has_whole_stages_and_goes_on(runs, swept, tmp_path, monkeypatch):
    _, found = swept
    place = tmp_path / "out"
    stages = sweep(finished_runs(runs), SPECKLE_AND_FOG, place)
    next(stages)
    stages.close()
    assert sorted(path.name for path in place.rglob("*.csv")) == ["fog-1-scores.csv"] * 3
    assert not list(place.rglob("*.tmp"))
    assert robustness(runs, [], place, corruptions=SPECKLE_AND_FOG).points == found.points


def test_scores_of_other_settings_are_refused(runs, swept, tmp_path):
    out = shutil.copytree(swept[0], tmp_path / "out")
    before = snapshot(out)
    with pytest.raises(RunError, match=r"^[^\n]*another sweep \(different: seed\)[^\n]*$"):
        robustness(runs, [], out, corruptions=Sweep(["fog"], [1], jobs=0, seed=1))
    assert snapshot(out) == before


def test_the_command_prints_curves_and_writes_every_point(runs, tmp_path, capfd):
    out = tmp_path / "out"
    words = ["--corruption", "speckle", "shadow", "--severity", "2", "5", "--jobs", "0", "-o", str(out)]
    assert run(["robustness", *runs, *words]) == 0
    printed = capfd.readouterr().out
    assert "small corrupted: dice " in printed
    points = list(csv.DictReader((out / "curves.csv").open()))
    assert {(p["disturbance"], float(p["strength"])) for p in points} == {
        ("clean", 0), ("speckle", 2), ("speckle", 5), ("shadow", 2), ("shadow", 5)
    }  # fmt: skip
    stored = json.loads((out / "corruptions.json").read_text())
    assert (stored["metric"], stored["baseline"], stored["rows"]) == ("dice", "iid", ["iid", "small"])
    assert stored["corruption_error"]["iid"] == 1
    means = list(csv.DictReader((out / "corruptions.csv").open()))
    dice = {
        (p["run"], p["disturbance"], float(p["strength"])): float(p["mean"])
        for p in points
        if p["metric"] == "dice"
    }
    [mean] = [float(m["mean"]) for m in means if (m["row"], m["kind"], m["severity"]) == ("iid", "all", "2")]
    by_hand = [dice[name, kind, 2.0] for name in ("iid-s0", "iid-s1") for kind in ("speckle", "shadow")]
    assert mean == pytest.approx(np.mean(by_hand))


def test_attacks_and_corruptions_can_be_asked_for_together(runs, tmp_path, capfd):
    out = tmp_path / "out"
    words = ["--attack", "fgsm", "--eps", "2", "--corruption", "gain", "--severity", "1", "--jobs", "0"]
    assert run(["robustness", runs[0], *words, "-o", str(out)]) == 0
    points = list(csv.DictReader((out / "curves.csv").open()))
    assert {p["disturbance"] for p in points} == {"clean", "fgsm", "gain"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--corruption", "fogg"], "--corruption: unknown corruption 'fogg'; did you mean 'fog'?"),
        (["--severity", "6"], "--severity: 6 is none; give numbers from 1 to 5"),
        (["--corruption", "fog", "--eps", "0"], "0 is no strength"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, said, runs, tmp_path, capfd):
    assert run(["robustness", runs[0], *words, "-o", str(tmp_path / "out")]) == 2
    assert said in the_line(*capfd.readouterr())
    assert not (tmp_path / "out").exists()


def test_what_goes_wrong_in_a_process_ends_in_one_line(runs, tmp_path, capfd, monkeypatch):
    def refuse(*_):
        raise DataError("benign (1).png: cannot be decoded")

    monkeypatch.setattr(corrupted_images, "corrupted", refuse)
    words = ["--corruption", "fog", "--severity", "1", "--jobs", "2", "-o", str(tmp_path / "out")]
    assert run(["robustness", runs[0], *words]) == 2
    assert the_line(*capfd.readouterr()) == "error: benign (1).png: cannot be decoded"
    assert not list((tmp_path / "out").rglob("fog*"))


def test_runs_that_answer_once_per_image(tmp_path):
    folder = finished_run(tmp_path / "kd-s0", answer_recipes.classes(tmp_path))
    found = robustness(
        [folder], [], tmp_path / "out", corruptions=Sweep(["rician_noise", "jpeg"], [1, 5], jobs=0)
    )
    assert found.corruptions is not None
    table = AnswerTable.read_csv(tmp_path / "out" / "kd-s0" / "jpeg-5-scores.csv")
    right = float((table.labels == table.predicted).mean())
    [point] = [
        p for p in found.points if (p["disturbance"], p["strength"], p["metric"]) == ("jpeg", 5, "accuracy")
    ]
    assert point["mean"] == pytest.approx(right)
    assert found.corruptions.metric == "accuracy"


def test_volumes_are_corrupted_whole(tmp_path, capfd):
    mapping = tiny()
    mapping["data"] = {"source": {"kind": "phantom", "cases": 5}, "splits": SPLITS, "size": [32, 32, 32]}
    options = {"channels": [2, 4], "strides": [2], "num_res_units": 0}
    mapping["model"] = {"name": "monai/unet", "options": options}
    folder = finished_run(tmp_path / "v-s0", mapping)
    words = ["--corruption", "bias_field", "--severity", "4", "--jobs", "0", "-o", str(tmp_path / "out")]
    assert run(["robustness", str(folder), *words]) == 0
    clean, table = (
        ScoreTable.read_csv(tmp_path / "out" / "v-s0" / f"{name}-scores.csv")
        for name in ("clean", "bias_field-4")
    )
    assert table["case"].tolist() == clean["case"].tolist()
    assert table["nll"].tolist() != clean["nll"].tolist()
    capfd.readouterr()
    words[1] = "shadow"
    assert run(["robustness", str(folder), *words]) == 2
    assert "shadow corrupts 2D images, and these are 3D" in the_line(*capfd.readouterr())
