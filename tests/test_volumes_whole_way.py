"""From NIfTI files to label maps in NIfTI files, by the command line alone."""

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from meddistill.cli import run
from meddistill.evaluation import ScoreTable

AFFINE = np.array([[-0.8, 0.1, 0, 40], [0.1, 0.8, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]])
SPLITS = {"fractions": {"train": 0.5, "selection": 0.25, "test": 0.25}}
UNET = {"name": "monai/unet", "options": {"channels": [4, 8], "num_res_units": 0}}


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """Eight volumes of four patients, no two of one size, with a bright block labelled 3."""
    root = tmp_path_factory.mktemp("heart")
    rng = np.random.default_rng(0)
    for number in range(8):
        shape = (20 + number, 24, 6 + number % 3)
        label = np.zeros(shape, np.uint8)
        label[5:12, 6:14, 1:5] = 3
        image = ((label > 0) * 600 + rng.normal(0, 60, shape)).astype(np.float32)
        for folder, values in (("images", image), ("labels", label)):
            (root / folder).mkdir(exist_ok=True)
            name = f"patient{number // 2}_frame{number % 2}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(values, AFFINE), root / folder / name)
    return root


def write(folder, root, *, data, model, training, method="supervised", classes=None):
    source = {"kind": "volumes", "root": str(root), "group_pattern": "^(patient[0-9]+)"}
    source |= {"classes": classes or {"background": 0, "ventricle": 3}, **data.pop("source", {})}
    recipe = {
        "name": "volumes",
        "data": {"source": source, "splits": SPLITS, **data},
        "model": model,
        "method": {"name": method},
        "training": {"batch_size": 4, "accelerator": "cpu", **training},
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return file


WAYS = {
    "patches": ({"patch": [6, 16, 16], "augment": "flip"}, UNET, {"epochs": 50, "lr": 0.02}),
    "whole": ({"size": [8, 20, 20]}, UNET, {"epochs": 40, "lr": 0.02}),
    "slices": (
        {"size": [24, 24], "source": {"slices": True}},
        {"name": "pcd/unet", "options": {"width": 2}},
        {"epochs": 12, "lr": 0.01},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_train_evaluate_predict(heart, tmp_path, capsys, way):
    data, model, training = WAYS[way]
    file = write(tmp_path, heart, data=dict(data), model=model, training=training)
    assert run(["train", str(file), "-o", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    table = ScoreTable.read_csv(tmp_path / "run" / "evaluation" / "test-scores.csv")
    assert len(table) == 2
    assert len(set(table["group"])) == 1
    assert set(table["unit"]) == {"mm"}
    assert table["dice"].min() > 0.8
    assert np.isfinite(table["avd"]).all()
    sizes = {name: nibabel.load(heart / "images" / f"{name}.nii.gz").shape for name in table["case"].tolist()}
    assert table["pixels"].tolist() == [np.prod(shape) for shape in sizes.values()]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "HD95 (mm)" in page
    assert "AVD (ml)" in page
    assert json.loads((tmp_path / "run" / "model.json").read_text())["volumes"]["by"] == way

    assert run(["evaluate", str(tmp_path / "run"), "--again"]) == 0
    again = ScoreTable.read_csv(tmp_path / "run" / "evaluation" / "test-scores.csv")
    np.testing.assert_array_equal(again["dice"], table["dice"])

    assert run(["predict", str(tmp_path / "run"), str(heart / "images"), "-o", str(tmp_path / "out")]) == 0
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 8
    for path in written:
        name = path.name.replace("_mask", "")
        found, source = nibabel.load(path), nibabel.load(heart / "images" / name)
        assert found.shape == source.shape
        np.testing.assert_array_equal(found.affine, source.affine)
    for name, dice in zip(table["case"].tolist(), table["dice"].tolist(), strict=True):
        labels = np.asarray(nibabel.load(tmp_path / "out" / f"{name}_mask.nii.gz").dataobj) == 1
        truth = np.asarray(nibabel.load(heart / "labels" / f"{name}.nii.gz").dataobj) == 3
        assert 2 * (labels & truth).sum() / (labels.sum() + truth.sum()) == pytest.approx(dice)


def test_patches_under_mixed_supervision_score_every_branch(heart, tmp_path, capsys):
    supervision = {"full_groups": 1, "full_per_batch": 2, "weak": {"kind": "central_disc"}}
    data = {"patch": [6, 16, 16], "supervision": supervision}
    file = write(tmp_path, heart, data=data, model=UNET, training={"epochs": 2}, method="mixed")
    assert run(["train", str(file), "-o", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    tables = [
        ScoreTable.read_csv(tmp_path / "run" / "evaluation" / f"test-scores{name}.csv")
        for name in ("", "-upper")
    ]
    assert tables[0]["case"].tolist() == tables[1]["case"].tolist()
    assert tables[0]["nll"].tolist() != tables[1]["nll"].tolist()
    for branch in ([], ["--branch", "upper"]):
        out = tmp_path / f"out{len(branch)}"
        arguments = ["predict", str(tmp_path / "run"), str(heart / "images"), "-o", str(out), *branch]
        assert run(arguments) == 0
        assert len(list(out.iterdir())) == 8


def test_patches_resume_to_the_weights_of_an_uninterrupted_run(heart, tmp_path):
    for name, epochs in (("whole", [3]), ("parts", [2, 3])):
        for number in epochs:
            data = {"patch": [6, 16, 16], "augment": "light"}
            file = write(tmp_path, heart, data=data, model=UNET, training={"epochs": number})
            if number == 3 and name == "parts":
                config = tmp_path / name / "config.yaml"
                config.write_text(config.read_text().replace("epochs: 2", "epochs: 3"))
                state = tmp_path / name / "state.json"
                state.write_text(state.read_text().replace("finished", "running"))
            assert run(["train", str(file), "-o", str(tmp_path / name), "--resume"]) == 0
    weights = [(tmp_path / name / "student-last.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.realdata
def test_hippocampus_by_patches(tmp_path, capsys):
    place = Path(os.environ.get("MEDDISTILL_DATA", "../shared/data")) / "hippocampus"
    if not place.is_dir():
        pytest.skip(f"no real data at {place}; set MEDDISTILL_DATA")
    root = tmp_path / "part"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
        for file in sorted((place / folder).glob("*.nii.gz"))[:24]:
            (root / folder / file.name).symlink_to(file.resolve())
    classes = {"background": 0, "anterior": 1, "posterior": 2}
    data = {"patch": [32, 32, 32], "source": {"group_pattern": None}}
    model = {"name": "monai/unet", "options": {"channels": [8, 16, 32]}}
    training = {"epochs": 30, "lr": 0.005, "batch_size": 2}
    file = write(tmp_path, root, data=data, model=model, training=training, classes=classes)
    assert run(["train", str(file), "-o", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    table = ScoreTable.read_csv(tmp_path / "run" / "evaluation" / "test-scores.csv")
    assert set(table["class"]) == {"anterior", "posterior"}
    assert table["dice"].mean() > 0.6
    assert run(["predict", str(tmp_path / "run"), str(root / "images"), "-o", str(tmp_path / "out")]) == 0
    for path in (tmp_path / "out").iterdir():
        found, source = nibabel.load(path), nibabel.load(root / "images" / path.name.replace("_mask", ""))
        assert found.shape == source.shape
        np.testing.assert_array_equal(found.affine, source.affine)
