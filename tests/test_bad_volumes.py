"""Volumes that cannot be used: each is one line on stderr and exit code 2, and leaves nothing behind."""

import numpy as np
import pytest

from meddistill.cli import run
from meddistill.data.volumes import read_geometry, write_volume
from tests.data.volumes.builders import (
    CLASSES,
    SHAPE,
    cut,
    image_values,
    label_values,
    volume_tree,
    write_nifti,
    write_series,
)
from tests.mistakes import snapshot, the_line, train

ONE = "patient1_frame1.nii.gz"
SPLITS = {"fractions": {"train": 0.25, "selection": 0.25, "calibration": 0.25, "test": 0.25}}


def nan_voxels(root):
    values = image_values()
    values[0, 0, :3] = np.nan
    write_nifti(root / "images" / ONE, values)


MISTAKES = {
    "gzip cut off": (lambda root: cut(root / "images" / ONE, 0.7), [f"images/{ONE}", "cut off"]),
    "4D": (lambda root: write_nifti(root / "images" / ONE, np.zeros((2, *SHAPE), np.uint8)), ["4 axes", ONE]),
    "NaN": (nan_voxels, [f"images/{ONE}", "3 of 210 voxels are NaN"]),
    "affine": (
        lambda root: write_nifti(root / "labels" / ONE, label_values(), np.diag([2, 2, 2, 1])),
        [f"labels/{ONE}", "the affine differs", "resample"],
    ),
    "unknown value": (
        lambda root: write_nifti(root / "labels" / ONE, label_values() * 5),
        [f"labels/{ONE}", "label value 5, 10 is in no class", "ignore_value"],
    ),
}


@pytest.mark.parametrize(("breaking", "words"), MISTAKES.values(), ids=MISTAKES)
def test_training_stops_at_a_bad_volume(tmp_path, capsys, breaking, words):
    root = volume_tree(tmp_path / "data")
    breaking(root)
    source = {"kind": "volumes", "root": str(root), "classes": CLASSES, "ignore_value": 4, "slices": True}
    command = train(tmp_path, data={"source": source, "splits": SPLITS, "size": [16, 16]})
    before = snapshot(tmp_path)
    assert run(command) == 2
    line = the_line(*capsys.readouterr())
    assert all(word in line for word in words), line
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("breaking", ["missing slice", "mixed series", "cut off"])
def test_training_stops_at_a_bad_series(tmp_path, capsys, breaking):
    for name in ("a", "b", "c", "d"):
        folder = write_series(tmp_path / "data" / name, np.zeros(SHAPE, np.int16))
        write_volume(folder.with_name(f"{name}.nii.gz"), label_values(), read_geometry(folder))
    if breaking == "missing slice":
        (tmp_path / "data/b/slice002.dcm").unlink()
    elif breaking == "cut off":
        cut(tmp_path / "data/b/slice002.dcm", 0.95)
    else:
        write_series(tmp_path / "data/b", np.zeros(SHAPE, np.int16), prefix="other")
    source = {
        "kind": "dicom",
        "root": str(tmp_path / "data"),
        "classes": {"background": 0, "organ": [1, 2]},
        "slices": True,
    }
    assert run(train(tmp_path, data={"source": source, "splits": SPLITS, "size": [16, 16]})) == 2
    line = the_line(*capsys.readouterr())
    assert "data/b" in line
    assert breaking.removeprefix("missing ") in line
    assert not (tmp_path / "out").exists()
