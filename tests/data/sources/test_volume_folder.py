import os
from pathlib import Path

import numpy as np
import pytest

from meddistill.data import IGNORE_INDEX, CaseCache, Source, VolumeFolderSource, check_files
from meddistill.errors import ConfigError, DataError
from tests.data.volumes.builders import (
    AFFINE,
    CLASSES,
    SHAPE,
    cut,
    image_values,
    label_values,
    volume_tree,
    write_nifti,
)

DATA = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[4] / "shared" / "data"))


def source(root: Path, **options) -> VolumeFolderSource:
    return VolumeFolderSource(root, **{"classes": CLASSES, "ignore_value": 4, **options})


def test_files_of_one_name_are_a_case(tmp_path):
    found = source(volume_tree(tmp_path), group_pattern=r"^(patient\d+)", normalise="minmax")
    assert isinstance(found, Source)
    assert (found.dims, found.in_channels, found.class_names) == (3, 1, ("background", "organ"))
    assert [case.id for case in found.cases] == [f"patient{p}_frame{f}" for p in (1, 2, 3) for f in (1, 2)]
    assert [case.group for case in found.cases] == [f"patient{p}" for p in (1, 1, 2, 2, 3, 3)]
    case = found.cases[1]
    values = image_values(12)
    image = found.read_image(case)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0], (values - values.min()) / np.ptp(values), atol=1e-6)
    assert np.array_equal(found.read_label(case), label_values() == 2)
    weak = found.read_weak(case)
    assert np.argwhere(weak == 1).tolist() == [[2, 2, 1], [2, 2, 2]]
    assert (weak == IGNORE_INDEX).sum() == np.prod(SHAPE) - 2
    np.testing.assert_allclose(found.geometry(case).affine, AFFINE, rtol=1e-6)


def test_volumes_go_through_the_cache(tmp_path):
    found = source(volume_tree(tmp_path, patients=1))
    cache = CaseCache(found, found.cases, size=(4, 6, 6))
    image, label = cache.read(1)
    assert (image.shape, label.shape) == ((1, 4, 6, 6), (4, 6, 6))
    assert sorted(label.unique().tolist()) == [0, 1]


def test_unlabelled_volumes_are_refused_or_allowed(tmp_path):
    root = volume_tree(tmp_path, patients=1)
    (root / "labels/patient1_frame2.nii.gz").unlink()
    (root / "scribbles/patient1_frame2.nii.gz").unlink()
    with pytest.raises(DataError, match=r"volume without label: .*patient1_frame2"):
        source(root)
    found = source(root, unlabelled="allow")
    for read in (found.read_label, found.read_weak):
        label = read(found.cases[1])
        assert (label.shape, set(label.flat)) == (SHAPE, {IGNORE_INDEX})


def remove(name):
    return lambda root: (root / name).unlink()


def double(root):
    write_nifti(root / "images/patient1_frame1.nii", image_values())


SCANS = {
    "label without image": (
        remove("images/patient1_frame1.nii.gz"),
        "label without image: .*labels/patient1_frame1",
    ),
    "same name": (double, "has the same name; remove one of them"),
    "no images": (lambda root: [path.unlink() for path in root.rglob("*.nii.gz")], "no volumes found"),
}


@pytest.mark.parametrize(("breaking", "message"), SCANS.values(), ids=SCANS)
def test_folders_that_do_not_fit_together_are_refused(tmp_path, breaking, message):
    root = volume_tree(tmp_path, patients=1)
    breaking(root)
    with pytest.raises(DataError, match=message):
        source(root)


def put(folder, values, affine=AFFINE):
    return lambda root: write_nifti(root / folder / "patient1_frame1.nii.gz", values, affine)


def nan_voxels(root):
    values = image_values()
    values[0, 0, :2] = np.nan
    put("images", values)(root)


SHIFTED = AFFINE + np.eye(4)[0][:, None] * np.array([0, 0, 0, 0.5])
IN_HEADERS = {
    "4D": (put("images", np.zeros((3, *SHAPE), np.uint8)), "images/.*has 4 axes"),
    "4D label": (put("labels", np.zeros((3, *SHAPE), np.uint8)), "labels/.*has 4 axes"),
    "affine": (
        put("labels", label_values(), SHIFTED),
        "labels/.*: the affine differs from that of its image",
    ),
    "affine of weak": (put("scribbles", label_values(), SHIFTED), "scribbles/.*: the affine differs"),
    "shape": (
        put("labels", label_values((5, 6, 7))),
        "the label is 5 x 6 x 7, but its image .* is 5 x 7 x 6",
    ),
    "empty": (
        lambda root: (root / "labels/patient1_frame1.nii.gz").write_bytes(b""),
        r"labels/.*the file is empty \(0 bytes\)",
    ),
    "no NIfTI": (
        lambda root: (root / "images/patient1_frame1.nii.gz").write_text("text"),
        "images/.*cannot be read .*Not a gzipped file",
    ),
}
IN_VOXELS = {
    "NaN": (
        nan_voxels,
        r"images/patient1_frame1\.nii\.gz: 2 of 210 voxels are NaN or infinite; replace them",
    ),
    "unknown value": (
        put("labels", label_values() * 4),
        r"labels/.*: label value 8 is in no class \(known: 0, 1, 2, 4",
    ),
    "half values": (put("labels", label_values() / np.float32(2)), r"label value 0\.5 is not a whole number"),
    "gzip cut off": (
        lambda root: cut(root / "images/patient1_frame1.nii.gz", 0.7),
        "images/.*damaged or cut off: copy it again",
    ),
}


@pytest.mark.parametrize(("breaking", "message"), IN_HEADERS.values(), ids=IN_HEADERS)
def test_bad_headers_are_found_before_anything_is_decoded(tmp_path, breaking, message, monkeypatch):
    root = volume_tree(tmp_path, patients=1)
    breaking(root)
    found = source(root)
    monkeypatch.setattr("meddistill.data.sources.volume.read_volume", None)
    monkeypatch.setattr("meddistill.data.sources.volume.read_nifti", None)
    with pytest.raises(DataError, match=message) as error:
        CaseCache(found, found.cases, size=None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("breaking", "message"), IN_VOXELS.values(), ids=IN_VOXELS)
def test_bad_voxels_name_their_file(tmp_path, breaking, message):
    root = volume_tree(tmp_path, patients=1)
    breaking(root)
    found = source(root)
    check_files(found.cases, found)
    with pytest.raises(DataError, match=message) as error:
        CaseCache(found, found.cases, size=None)
    assert "\n" not in str(error.value)


def test_a_label_on_another_grid_is_not_read_either(tmp_path):
    root = volume_tree(tmp_path, patients=1)
    put("labels", label_values(), SHIFTED)(root)
    found = source(root)
    with pytest.raises(DataError, match=r"corners up to 0\.625 voxels apart"):
        found.read_label(found.cases[0])
    assert found.read_image(found.cases[0]).shape == (1, *SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": None}, "classes is missing"),
        ({"classes": {"background": 0, "a": 4}}, "the label value 4 stands twice"),
        ({"normalise": "window"}, "go together"),
        ({"unlabelled": "skip"}, "unlabelled must be 'refuse' or 'allow'"),
        ({"group_pattern": "("}, "is not a regular expression"),
    ],
)
def test_options_are_checked(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        source(volume_tree(tmp_path, patients=1), **options)


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        source(tmp_path / "nowhere")


@pytest.mark.realdata
def test_acdc_as_it_is():
    if not (DATA / "acdc").is_dir():
        pytest.skip(f"no real data in {DATA}; set MEDDISTILL_DATA")
    found = VolumeFolderSource(
        DATA / "acdc",
        classes={"background": 0, "right ventricle": 1, "myocardium": 2, "left ventricle": 3},
        ignore_value=4,
        group_pattern=r"^(patient\d+)",
    )
    assert len(found.cases) == 200
    assert len({case.group for case in found.cases}) == 100
    found.check_files(found.cases)
    grids = [found.geometry(case) for case in found.cases]
    assert {grid.unit for grid in grids} == {None}
    assert sum(grid.shape[0] for grid in grids) == 1902
    assert grids[0].shape == (10, 256, 216)
    for case in found.cases[:4]:
        label, weak = found.read_label(case), found.read_weak(case)
        assert np.unique(label).tolist() == [0, 1, 2, 3]
        assert np.unique(weak).tolist() == [IGNORE_INDEX, 0, 1, 2, 3]
        known = weak != IGNORE_INDEX
        assert (weak == label)[known].mean() > 0.9
        assert known.mean() < 0.1


@pytest.mark.realdata
def test_hippocampus_as_it_is():
    if not (DATA / "hippocampus").is_dir():
        pytest.skip(f"no real data in {DATA}; set MEDDISTILL_DATA")
    classes = {"background": 0, "anterior": 1, "posterior": 2}
    found = VolumeFolderSource(DATA / "hippocampus", classes=classes)
    assert len(found.cases) == 129
    found.check_files(found.cases)
    assert {found.geometry(case).spacing for case in found.cases} == {(1, 1, 1)}
    case = found.cases[0]
    image, label = found.read_image(case), found.read_label(case)
    assert image.shape[1:] == label.shape == found.geometry(case).shape
    assert (image.min(), image.max()) == (0, 1)
    assert np.unique(label).tolist() == [0, 1, 2]
