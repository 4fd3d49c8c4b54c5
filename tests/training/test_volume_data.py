"""Recipes on volumes and their slices, and what inspect says of folders of volumes."""

import numpy as np
import pytest

from meddistill.config.load import check_recipe
from meddistill.data import DecathlonSource, DicomSource, NnUNetSource, SliceSource, VolumeFolderSource
from meddistill.data.case import IGNORE_INDEX
from meddistill.data.inspect import render
from meddistill.data.volumes import read_geometry, write_volume
from meddistill.errors import ConfigError, DataError
from meddistill.training.data import TaskData, build_source
from meddistill.training.inspection import inspect_data
from tests.data.builders import write_json
from tests.data.volumes.builders import (
    CLASSES,
    SHAPE,
    decathlon_tree,
    image_values,
    label_values,
    nnunet_tree,
    volume_tree,
    write_nifti,
    write_series,
)
from tests.recipes import tiny, tiny_recipe

PATIENTS = r"^(patient\d+)"
THIRDS = {"train": 0.34, "selection": 0.33, "test": 0.33}


def volumes(root, size=(16, 16), **options):
    source = {"kind": "volumes", "root": str(root), "classes": CLASSES, "ignore_value": 4}
    source |= {"group_pattern": PATIENTS, "slices": len(size) == 2, **options}
    return {"source": source, "splits": {"fractions": None}, "size": list(size)}


def task(root, size=(16, 16), **options):
    data = tiny_recipe(data=volumes(root, size, **options)).data
    return TaskData.from_config(
        data.model_copy(update={"splits": data.splits.model_copy(update={"fractions": THIRDS})})
    )


def test_slices_and_volumes_of_a_recipe_are_divided_alike(tmp_path):
    root = volume_tree(tmp_path)
    flat, whole = task(root), task(root, (4, 8, 8))
    assert (flat.source.dims, whole.source.dims) == (2, 3)
    assert flat.num_classes == whole.num_classes == 2
    for split in THIRDS:
        ids = set(whole.cases(split))
        assert len(ids) == 2
        assert {name.rsplit("/", 1)[0] for name in flat.cases(split)} == ids
        assert len(flat.cases(split)) == 2 * SHAPE[0]


@pytest.mark.parametrize("size", [(16, 16), (4, 8, 8)])
def test_batches_come_from_slices_and_from_volumes(tmp_path, size):
    data = task(volume_tree(tmp_path), size)
    batch = next(iter(data.training_loader(batch_size=2, seed=0, workers=0)))
    assert batch["image"].shape == (2, 1, *size)
    assert batch["label"].shape == (2, *size)
    assert 0 <= float(batch["image"].min()) < float(batch["image"].max()) <= 1


def test_lists_name_volumes(tmp_path):
    root = volume_tree(tmp_path)
    write_json(root / "train.json", ["patient1_frame1", "patient1_frame2.nii.gz"])
    write_json(root / "test.json", ["patient2_frame1"])
    data = volumes(root)
    data["splits"] = {"fractions": None, "files": {"train": "train.json", "test": "test.json"}}
    found = TaskData.from_config(tiny_recipe(data=data).data)
    assert len(found.cases("train")) == 2 * SHAPE[0]
    assert set(found.cases("test")) == {f"patient2_frame1/{n:03}" for n in range(SHAPE[0])}


@pytest.mark.parametrize(("size", "slices"), [((8, 8), False), ((4, 8, 8), True)])
def test_the_size_must_fit_the_axes(tmp_path, size, slices):
    with pytest.raises(ConfigError, match=r"data\.size"):
        task(volume_tree(tmp_path), size, slices=slices)


def test_every_kind_is_built(tmp_path):
    series = write_series(tmp_path / "dicom/a", np.zeros(SHAPE, np.int16))
    write_volume(tmp_path / "dicom/a.nii.gz", label_values(), read_geometry(series))
    wanted = {
        "volumes": (
            volume_tree(tmp_path / "volumes"),
            VolumeFolderSource,
            {"classes": CLASSES, "ignore_value": 4},
        ),
        "nnunet": (
            nnunet_tree(tmp_path / "nnunet"),
            NnUNetSource,
            {"window": [0, 500], "normalise": "window"},
        ),
        "decathlon": (decathlon_tree(tmp_path / "decathlon"), DecathlonSource, {"normalise": "minmax"}),
        "dicom": (tmp_path / "dicom", DicomSource, {"classes": {"background": 0, "organ": [1, 2]}}),
    }
    for kind, (root, expected, options) in wanted.items():
        section = {"kind": kind, "root": str(root), **options}
        data = tiny_recipe(data={"source": section, "size": [4, 8, 8]}).data
        found = build_source(data.source)
        assert type(found) is expected
        assert found.normalisation.kind == options.get("normalise", "percentiles")
        assert found.read_label(found.cases[0]).shape == SHAPE
        slices = build_source(data.source.model_copy(update={"slices": True}))
        assert isinstance(slices, SliceSource)
        assert len(slices.cases) == len(found.cases) * SHAPE[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": None}, r"data\.source\.classes: "),
        ({"classes": {"background": "0", "a": 1}}, r"data\.source\.classes\.background: .*integer, got '0'"),
        ({"normalise": "zscore"}, r"data\.source\.normalise: .*'minmax', 'percentiles' or 'window'"),
        ({"window": [1]}, r"data\.source\.window: "),
        ({"ignore": 4}, r"data\.source\.ignore: unknown key .* did you mean 'ignore_value'"),
    ],
)
def test_options_of_a_recipe_are_checked(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(tiny(data=volumes(tmp_path, **options)))


def test_a_folder_that_is_not_there_is_named_by_its_key(tmp_path):
    with pytest.raises(DataError, match=r"data\.source\.root: .*nowhere does not exist"):
        task(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [SHAPE, SHAPE[1:]])
def test_scribbles_are_weak_labels_of_slices_and_of_volumes(tmp_path, size):
    data = volumes(volume_tree(tmp_path), size)
    data["supervision"] = {"full_groups": 1, "full_per_batch": 1, "weak": {"kind": "file"}}
    data["splits"] = {"fractions": {"train": 0.67, "test": 0.33}}
    recipe = check_recipe({**tiny(), "data": data})
    found = TaskData.from_config(recipe.data, seed=0)
    cache = found.dataset("train").cache
    full, weak = cache.gather_weak(range(len(cache)))
    assert len({case.group for case, is_full in zip(cache.cases, full.tolist(), strict=True) if is_full}) == 1
    assert (~full).sum() == full.sum()
    # Two voxels of class 2, which is 1 here, in the scribbles of each of the four volumes.
    assert (weak == 1).sum() == 8
    assert (weak == IGNORE_INDEX).sum() == weak.numel() - 8


def tables(inspection):
    return {table.title.split(" (")[0]: table for table in inspection.tables}


def test_inspect_tells_sizes_spacings_values_and_empty_slices(tmp_path):
    root = volume_tree(tmp_path)
    write_nifti(root / "images/patient3_frame2.nii.gz", image_values(0, (6, 7, 6)))
    write_nifti(root / "labels/patient3_frame2.nii.gz", label_values((6, 7, 6)))
    found = inspect_data(str(root))
    shown = tables(found)
    assert (found.num_cases, found.has_errors) == (6, False)
    assert shown["Image sizes"].rows[0] == ("axis 0", 5, 5.0, 6)
    assert [row[:3] for row in shown["Label values"].rows] == [
        (0, "background", 6),
        (1, "label 1", 6),
        (2, "label 2", 6),
    ]
    spacing = shown["Voxel spacing"]
    assert spacing.title == "Voxel spacing (known for 6 of 6 volumes; x, y, z run to LAS 6)"
    assert [(row[0], round(row[1], 6), round(row[3], 6)) for row in spacing.rows] == [
        ("between slices", 3, 3),
        ("between rows", 0.8, 0.8),
        ("between columns", 0.8, 0.8),
    ]
    empty = shown["Slices without foreground"]
    assert empty.title.endswith("(at most 2 in one volume)")
    assert empty.rows == ((31, 12, "38.7%"),)
    assert "between rows" in render(found)


def test_inspect_says_where_the_spacing_is_lost(tmp_path):
    root = volume_tree(tmp_path, patients=1)
    for path in root.rglob("*.nii.gz"):
        write_nifti(
            path, label_values() if "images" not in str(path) else image_values(len(path.name)), np.eye(4)
        )
    found = tables(inspect_data(str(root)))["Voxel spacing"]
    assert found.title.startswith("Voxel spacing (known for 0 of 2 volumes")
    assert found.rows == (("not known: distances are in voxels",),)


@pytest.mark.parametrize(
    ("tree", "cases", "names"),
    [
        (nnunet_tree, 3, ["(ignored)", "background", "one", "two"]),
        (decathlon_tree, 3, ["(ignored)", "background", "Anterior", "Posterior"]),
    ],
)
def test_inspect_knows_the_layouts_with_a_description(tmp_path, tree, cases, names):
    found = inspect_data(str(tree(tmp_path)))
    assert found.num_cases == cases
    assert [row[1] for row in tables(found)["Label values"].rows] == names


def test_inspect_knows_dicom_and_takes_options(tmp_path):
    stored = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    folder = write_series(tmp_path / "p1/ct", stored)
    write_volume(tmp_path / "p1/ct.nii.gz", label_values(), read_geometry(folder))
    found = inspect_data(
        str(tmp_path), overrides={"slices": True, "classes": {"background": [0, 1], "organ": 2}}
    )
    assert (found.num_cases, found.has_errors) == (SHAPE[0], False)
    assert [row[1] for row in tables(found)["Label values"].rows] == ["background", "organ"]
    assert tables(found)["Image sizes"].rows == (("height", 7, 7.0, 7), ("width", 6, 6.0, 6))


def test_inspect_gathers_broken_volumes(tmp_path):
    root = volume_tree(tmp_path)
    (root / "images/patient1_frame1.nii.gz").write_bytes(b"")
    write_nifti(root / "labels/patient2_frame1.nii.gz", label_values(), np.diag([2, 2, 2, 1]))
    [finding] = inspect_data(str(root)).of_kind("unreadable")
    assert finding.level == "error"
    assert len(finding.items) == 2
    assert "the file is empty (0 bytes)" in finding.items[0]
    assert "the affine differs" in finding.items[1]
