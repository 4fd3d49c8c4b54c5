import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.volumes import dicom, find_volumes, read_geometry, read_volume, write_volume
from meddistill.errors import DataError
from tests.data.volumes.builders import AFFINE, SHAPE, cut, edit_slice, write_nifti, write_series

STORED = np.random.default_rng(0).integers(-500, 900, SHAPE).astype(np.int16)


def turned(seed: int) -> np.ndarray:
    """An affine of a right-handed oblique scan."""
    generator = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    turn[:, 2] = np.cross(turn[:, 0], turn[:, 1])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([0.7, 0.9, 2.5])
    affine[:3, 3] = generator.uniform(-100, 100, 3)
    return affine


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), order=st.permutations(range(SHAPE[0])))
def test_slices_come_in_the_order_of_their_positions(tmp_path_factory, seed, order):
    affine = turned(seed)
    folder = write_series(tmp_path_factory.mktemp("s"), STORED, affine, slope=2, intercept=-1024, order=order)
    assert np.array_equal(read_volume(folder), 2.0 * STORED[None] - 1024)
    found = read_geometry(folder)
    np.testing.assert_allclose(found.affine, affine, atol=1e-4)
    assert found.shape == SHAPE
    assert found.spacing == pytest.approx((2.5, 0.9, 0.7))


def test_an_axial_series_has_the_affine_that_converters_give(tmp_path):
    """Slices upwards, rows to the back, columns to the left: LPS, so both are negative in RAS."""
    affine = np.array([[-0.5, 0, 0, 60], [0, -0.6, 0, 70], [0, 0, 4, -30], [0, 0, 0, 1.0]])
    folder = write_series(tmp_path / "a", STORED, affine)
    first = pydicom.dcmread(folder / "slice000.dcm")
    assert first.ImagePositionPatient == [-60, -70, -30]
    assert first.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert first.PixelSpacing == [0.6, 0.5]
    found = read_geometry(folder)
    np.testing.assert_allclose(found.affine, affine)
    assert found.orientation == "LPS"


def test_slices_are_stacked_along_the_normal_whatever_way_the_scan_went(tmp_path):
    downwards = AFFINE * np.array([1, 1, -1, 1])
    one, other = (write_series(tmp_path / n, STORED, a) for n, a in (("a", AFFINE), ("b", downwards)))
    assert np.array_equal(read_volume(one)[0, ::-1], STORED)
    assert np.array_equal(read_volume(other)[0], STORED)
    np.testing.assert_allclose(read_geometry(other).affine, downwards)
    flipped = AFFINE * np.array([1, 1, -1, 1])
    flipped[2, 3] += 4 * AFFINE[2, 2]
    np.testing.assert_allclose(read_geometry(one).affine, flipped)


def test_every_slice_has_its_own_scale(tmp_path):
    folder = write_series(tmp_path / "a", STORED)
    edit_slice(folder / "slice002.dcm", RescaleSlope=3)
    factors = np.array([1, 1, 3, 1, 1]).reshape(-1, 1, 1)
    assert np.array_equal(np.sort(read_volume(folder)[0], axis=None), np.sort(STORED * factors, axis=None))


def test_labels_written_on_the_grid_of_a_series_lie_on_it(tmp_path):
    folder = write_series(tmp_path / "a", STORED, turned(3))
    label = np.arange(STORED.size).reshape(SHAPE) % 3
    write_volume(tmp_path / "a.nii.gz", label, read_geometry(folder))
    found = read_geometry(tmp_path / "a.nii.gz")
    assert found.shape == SHAPE
    assert read_geometry(folder).distance_to(found) < 1e-4
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz")[0], label)


def test_one_slice_is_a_volume(tmp_path):
    folder = write_series(tmp_path / "a", STORED[:1])
    assert read_geometry(folder).spacing == pytest.approx((3, 0.8, 0.8))
    assert read_volume(folder).shape == (1, 1, *SHAPE[1:])


def test_notes_beside_the_slices_do_not_matter(tmp_path):
    folder = write_series(tmp_path / "a", STORED)
    for name in ("DICOMDIR", "notes.txt", ".hidden"):
        (folder / name).write_text("x")
    write_nifti(folder / "label.nii.gz", STORED)
    assert read_volume(folder).shape == (1, *SHAPE)


def test_volumes_of_both_kinds_are_found(tmp_path):
    write_series(tmp_path / "b/series", STORED)
    write_series(tmp_path / "plain", STORED)
    for file in (tmp_path / "plain").iterdir():
        file.rename(file.with_suffix(""))
    write_nifti(tmp_path / "b/a.nii", STORED)
    write_nifti(tmp_path / ".hidden/a.nii", STORED)
    found = [path.relative_to(tmp_path).as_posix() for path in find_volumes(tmp_path)]
    assert found == ["b/a.nii", "b/series", "plain"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no NIfTI files and no DICOM series"):
        find_volumes(empty)


def without(number):
    return lambda folder: (folder / f"slice{number:03}.dcm").unlink()


def edited(number=1, **changes):
    return lambda folder: edit_slice(folder / f"slice{number:03}.dcm", **changes)


def second_series(folder):
    write_series(folder, STORED, prefix="other")


def same_place(folder):
    first = pydicom.dcmread(folder / "slice000.dcm")
    edit_slice(folder / "slice001.dcm", ImagePositionPatient=first.ImagePositionPatient)


def shifted(folder):
    x, y, z = pydicom.dcmread(folder / "slice002.dcm").ImagePositionPatient
    edit_slice(folder / "slice002.dcm", ImagePositionPatient=[x + 2, y, z])


def smaller(folder):
    edit_slice(folder / "slice001.dcm", Rows=3, Columns=14)


def emptied(folder):
    (folder / "slice003.dcm").write_bytes(b"")


def foreign(folder):
    (folder / "readme").write_text("not a slice " * 30)


BAD = {
    "missing slice": (
        without(2),
        "1 slice missing between slice003.dcm and slice001.dcm: 6 mm apart, the others 3",
    ),
    "missing slices": (lambda folder: (without(1)(folder), without(2)(folder)), "2 slices missing between"),
    "mixed series": (second_series, "mixed series: 2 series, for example other004.dcm and slice004.dcm"),
    "mixed orientations": (
        edited(ImageOrientationPatient=[1, 0, 0, 0, 0, 1]),
        "mixed series: 2 orientations",
    ),
    "mixed spacings": (edited(PixelSpacing=[1, 2]), "mixed series: 2 pixel spacings"),
    "mixed sizes": (smaller, "mixed series: 2 sizes"),
    "one place twice": (same_place, "lie at one position"),
    "out of line": (shifted, "not evenly spaced: slice002.dcm lies 2 mm off"),
    "no position": (edited(ImagePositionPatient=None), "slice001.dcm: has no ImagePositionPatient"),
    "several frames": (edited(NumberOfFrames=4), "slice001.dcm: holds several frames"),
    "colour": (edited(SamplesPerPixel=3), "slice001.dcm: is in colour"),
    "empty": (emptied, r"slice003.dcm: the file is empty \(0 bytes\)"),
    "foreign": (foreign, "readme: not a DICOM file; move it out"),
    "cut off": (lambda folder: cut(folder / "slice001.dcm", 0.95), "slice001.dcm: cannot be decoded"),
    "no slices": (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no DICOM files"),
}


def test_gaps_are_found_where_they_outnumber_the_neighbours(tmp_path):
    folder = write_series(tmp_path / "a", np.concatenate([STORED, STORED[:1]]))
    for number in (1, 3):
        without(number)(folder)
    with pytest.raises(DataError, match=r"1 slice missing between .* 6 mm apart, the others 3 mm"):
        read_geometry(folder)


@pytest.mark.parametrize(("breaking", "message"), BAD.values(), ids=BAD)
def test_bad_series_are_refused_in_one_line(tmp_path, breaking, message):
    folder = write_series(tmp_path / "a", STORED)
    breaking(folder)
    with pytest.raises(DataError, match=message) as error:
        read_volume(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(folder))


def test_the_limit_is_checked_before_decoding(tmp_path, monkeypatch):
    folder = write_series(tmp_path / "a", STORED)
    monkeypatch.setattr(dicom, "MAX_VOXELS", 100)
    with pytest.raises(DataError, match="5 x 7 x 6 is larger than 100 voxels, refused without decoding"):
        read_geometry(folder)
