"""Predictions that say how sure the student is: the same numbers as when it was examined."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meddistill.calibration import Temperature, load_calibrator, save_calibrator
from meddistill.cli import run
from meddistill.config.load import check_recipe
from meddistill.deploy.predict import predict
from meddistill.errors import ConfigError, RunError
from meddistill.training.evaluate import own_data, read_recipe
from meddistill.training.fit import fit
from meddistill.training.run_folder import RunFolder
from meddistill.training.uncertainty import Question, assess
from tests import answer_recipes
from tests.recipes import tiny_recipe


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_test_images(folder: RunFolder, place: Path) -> list[str]:
    """The images of the test split as PNG files named by their cases."""
    data = own_data(read_recipe(folder))
    for name, case in data.cases("test").items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(data.source.read_image(case))
        Image.fromarray(pixels[0] if pixels.ndim == 3 else pixels).save(place / f"{name}.png")
    return sorted(data.cases("test"))


@pytest.fixture(scope="module")
def masks_run(tmp_path_factory) -> RunFolder:
    training = {"epochs": 6, "lr": 0.01, "precision": "32"}
    return fit(tiny_recipe(training=training), tmp_path_factory.mktemp("masks") / "run")


@pytest.mark.parametrize("kind", ["none", "temperature", "class", "local"])
def test_masks_have_the_uncertainty_of_the_examination(masks_run, tmp_path, kind, capfd):
    names = write_test_images(masks_run, tmp_path / "new")
    assess(masks_run.root, Question(calibrate=kind))
    examined = {row["case"]: float(row["entropy"]) for row in lines(masks_run.uncertainty_scores)}
    asked = ["--calibrated"] if kind != "none" else []
    out = tmp_path / "out"
    arguments = ["predict", str(masks_run.root), str(tmp_path / "new"), "-o", str(out), "--uncertainty"]
    assert run([*arguments, *asked]) == 0
    assert f"{len(names)} masks in {out}" in capfd.readouterr().out
    found = lines(out / "uncertainty.csv")
    assert [row["image"] for row in found] == [f"{name}.png" for name in names]
    assert [row["mask"] for row in found] == [f"{name}_mask.png" for name in names]
    for row, name in zip(found, names, strict=True):
        assert float(row["uncertainty"]) == pytest.approx(examined[name], abs=1e-5)


def test_a_calibration_stays_until_another_is_fitted(masks_run):
    assess(masks_run.root, Question(calibrate="temperature"))
    fitted = load_calibrator(masks_run.calibrator)
    assert isinstance(fitted, Temperature)
    assess(masks_run.root, Question())
    assert load_calibrator(masks_run.calibrator).describe() == fitted.describe()


def test_answers_about_images_have_a_column_and_honest_probabilities(tmp_path):
    recipe = answer_recipes.classes(tmp_path)
    folder = fit(check_recipe(recipe), tmp_path / "run")
    assess(folder.root, Question(calibrate="temperature"))
    save_calibrator(Temperature(4.0), folder.calibrator)
    images, asked = tmp_path / "classes", {"uncertainty": True}
    [plain] = predict(folder.root, images, tmp_path / "plain.csv", **asked)
    [hot] = predict(folder.root, images, tmp_path / "hot.csv", calibrated=True, **asked)
    for before, after in zip(lines(plain), lines(hot), strict=True):
        assert before["answer"] == after["answer"]
        p = np.array([float(value) for name, value in before.items() if name.startswith("p_")])
        q = np.array([float(value) for name, value in after.items() if name.startswith("p_")])
        np.testing.assert_allclose(q, p**0.25 / (p**0.25).sum(), rtol=1e-4)
        for row, values in ((before, p), (after, q)):
            entropy = -(values * np.log(values)).sum() / np.log(3)
            assert float(row["uncertainty"]) == pytest.approx(entropy, abs=1e-5)
    [without] = predict(folder.root, images, tmp_path / "without.csv")
    assert "uncertainty" not in without.read_text(encoding="utf-8").splitlines()[0]


def test_what_cannot_be_is_said_before_anything_is_written(masks_run, tmp_path):
    write_test_images(masks_run, tmp_path / "new")
    masks_run.calibrator.unlink(missing_ok=True)
    with pytest.raises(RunError, match=r"no fitted calibration; fit one: meddistill evaluate .* --calibrate"):
        predict(masks_run.root, tmp_path / "new", tmp_path / "out", calibrated=True)
    with pytest.raises(ConfigError, match="is not that of a branch; leave the branch out"):
        predict(masks_run.root, tmp_path / "new", tmp_path / "out", calibrated=True, branch="upper")
    assert not (tmp_path / "out").exists()
    predict(masks_run.root, tmp_path / "new", tmp_path / "out", uncertainty=True)
    for mask in (tmp_path / "out").rglob("*_mask.png"):
        mask.unlink()
    with pytest.raises(RunError, match=r"uncertainty\.csv is there already"):
        predict(masks_run.root, tmp_path / "new", tmp_path / "out", uncertainty=True)
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left == ["uncertainty.csv"]
