import gzip

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.volumes import Geometry, nifti, read_geometry, read_volume, write_volume
from meddistill.data.volumes.nifti import nifti_geometry, read_nifti
from meddistill.errors import ConfigError, DataError
from tests.data.volumes.builders import AFFINE, SHAPE, cut, grid, image_values, write_nifti


@st.composite
def grids(draw):
    """Any orientation: axes swapped, flipped and turned, any spacing and origin, any small shape."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    if draw(st.booleans()):
        turn = np.eye(3)[generator.permutation(3)]
    flips = np.array(draw(st.tuples(*[st.sampled_from([-1, 1])] * 3)))
    spacing = np.array(draw(st.tuples(*[st.floats(0.1, 9)] * 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * flips * spacing
    affine[:3, 3] = generator.uniform(-200, 200, 3)
    # NIfTI stores 32 bits.
    affine = affine.astype(np.float32).astype(np.float64)
    known = draw(st.booleans())
    return Geometry.from_affine(affine, draw(st.tuples(*[st.integers(1, 5)] * 3)), spacing_known=known)


@settings(max_examples=60)
@given(
    geometry=grids(),
    low=st.sampled_from([0, -100, -40_000]),
    high=st.sampled_from([1, 255, 256, 70_000]),
    ending=st.sampled_from([".nii", ".nii.gz"]),
)
def test_what_is_written_is_read_again(tmp_path_factory, geometry, low, high, ending):
    path = tmp_path_factory.mktemp("round") / f"labels{ending}"
    labels = np.random.default_rng(0).integers(low, high, geometry.shape, endpoint=True)
    labels.flat[0] = high
    write_volume(path, labels, geometry)
    assert np.array_equal(read_nifti(path), labels)
    found = nifti_geometry(path)
    assert np.array_equal(found.affine, geometry.affine)
    assert (found.shape, found.unit) == (geometry.shape, "mm")
    assert found.spacing == pytest.approx(np.linalg.norm(geometry.affine[:3, :3], axis=0)[::-1], rel=1e-6)
    image = nibabel.load(path)
    assert np.array_equal(image.affine, geometry.affine)
    assert image.shape == geometry.shape[::-1]
    assert image.header.get_zooms()[::-1] == pytest.approx(found.spacing, rel=1e-5)
    assert (image.get_data_dtype() == np.uint8) == (labels.min() >= 0 and high <= 255)


@pytest.mark.parametrize("known", [True, False])
def test_an_identity_is_known_only_where_the_scanner_said_so(tmp_path, known):
    geometry = Geometry.from_affine(np.eye(4), SHAPE, spacing_known=known)
    write_volume(tmp_path / "a.nii", np.zeros(SHAPE, int), geometry)
    found = read_geometry(tmp_path / "a.nii")
    assert (found.spacing, found.unit) == (((1, 1, 1), "mm") if known else (None, None))
    assert np.array_equal(found.affine, np.eye(4))


def test_a_file_without_affine_gives_one_without(tmp_path):
    found = read_geometry(write_nifti(tmp_path / "a.nii", np.zeros(SHAPE, np.uint8), None))
    assert found.spacing is None
    write_volume(tmp_path / "b.nii", np.zeros(SHAPE, int), found)
    again = nibabel.load(tmp_path / "b.nii")
    assert (int(again.header["sform_code"]), int(again.header["qform_code"])) == (0, 0)
    assert np.array_equal(again.affine, found.affine)


def test_axes_are_those_of_nibabel_reversed(tmp_path):
    values = image_values()
    path = write_nifti(tmp_path / "a.nii.gz", values)
    assert nibabel.load(path).shape == SHAPE[::-1]
    assert np.array_equal(read_volume(path), values[None])
    found = read_geometry(path)
    assert found.spacing == pytest.approx((3, 0.8, 0.8))
    assert found.orientation == "LAS"


def test_scaled_values_are_scaled(tmp_path):
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), AFFINE)
    image.header.set_slope_inter(2, -1)
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([2, -1], dtype="<f4").tobytes()  # saved with slope 1, as nibabel does
    (tmp_path / "a.nii").write_bytes(bytes(content))
    stored = np.asarray(nibabel.load(tmp_path / "a.nii").dataobj.get_unscaled())
    found = read_nifti(tmp_path / "a.nii")
    assert found.dtype == np.float32
    assert np.array_equal(found.T, 2.0 * stored - 1)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_spacing_is_in_millimetres_whatever_the_file_counts_in(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([2, 3, 4, 1]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_geometry(tmp_path / "a.nii")
    assert found.spacing == pytest.approx((4 * factor, 3 * factor, 2 * factor))
    write_volume(tmp_path / "b.nii", np.zeros((2, 2, 2), int), found)
    again = nibabel.load(tmp_path / "b.nii")
    assert again.header.get_xyzt_units()[0] == unit
    assert np.array_equal(again.affine, image.affine)


def test_channels_lie_along_the_fourth_axis(tmp_path):
    values = np.stack([image_values(1), image_values(2)])
    path = write_nifti(tmp_path / "a.nii.gz", values)
    assert np.array_equal(read_volume(path, channels=2), values)
    assert read_geometry(path, channels=2).shape == SHAPE
    with pytest.raises(DataError, match="has 2 channels, not 3"):
        read_volume(path, channels=3)


def test_a_fourth_axis_of_one_is_none(tmp_path):
    path = write_nifti(tmp_path / "a.nii", image_values()[None])
    assert len(nibabel.load(path).shape) == 4
    assert read_volume(path).shape == (1, *SHAPE)


def test_the_second_version_of_nifti_is_read(tmp_path):
    values = image_values()
    nibabel.save(nibabel.Nifti2Image(values.T, AFFINE), tmp_path / "a.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "a.nii.gz"), values)
    assert np.array_equal(read_geometry(tmp_path / "a.nii.gz").affine, AFFINE)


def four_axes(path):
    write_nifti(path, np.zeros((3, *SHAPE), np.uint8))


def two_axes(path):
    write_nifti(path, np.zeros((4, 5), np.uint8))


def colours(path):
    rgb = np.zeros(SHAPE[::-1], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, AFFINE), path)


def flat_affine(path):
    write_nifti(path, np.zeros(SHAPE, np.uint8))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:296] = b"\0" * 16
    path.write_bytes(gzip.compress(bytes(content)))


def huge(path):
    """Its header claims more voxels than are read."""
    write_nifti(path, np.zeros(SHAPE, np.uint8))
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([30_000, 30_000, 3], dtype="<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def cut_off(path):
    cut(write_nifti(path, image_values(0, (20, 30, 30))), 0.6)


def broken_stream(path):
    write_nifti(path, image_values(0, (20, 30, 30)))
    content = bytearray(path.read_bytes())
    content[-2000:-1000] = b"\xff" * 1000
    path.write_bytes(bytes(content))


BAD = {
    "4D": (four_axes, r"has 4 axes \(6 x 7 x 5 x 3\), but 3 are expected; save each frame"),
    "2D": (two_axes, r"has 2 axes \(5 x 4\)"),
    "colour": (colours, "save one real number per voxel"),
    "no inverse": (flat_affine, "the affine has no inverse"),
    "huge": (huge, "larger than 536870912 voxels, refused without decoding"),
    "cut off": (cut_off, "damaged or cut off: copy it again"),
    "damaged": (broken_stream, "damaged or cut off: copy it again"),
    "empty": (lambda path: path.write_bytes(b""), r"the file is empty \(0 bytes\)"),
    "missing": (lambda path: None, "cannot be opened"),
    "text": (
        lambda path: path.write_text("no volume, but long enough" * 30),
        "a.nii.gz: .*(not a NIfTI|damaged)",
    ),
    "gzipped text": (lambda path: path.write_bytes(gzip.compress(b"x" * 999)), "not a NIfTI file"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, make, message, capfd):
    path = tmp_path / "a.nii.gz"
    make(path)
    with pytest.raises(DataError, match=message) as error:
        (read_geometry(path), read_volume(path))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_an_uncompressed_file_may_be_cut_off_too(tmp_path):
    path = cut(write_nifti(tmp_path / "a.nii", image_values()))
    with pytest.raises(DataError, match=r"a\.nii: .*cut off"):
        read_volume(path)


def test_the_limit_is_checked_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "MAX_VOXELS", 209)
    path = cut(write_nifti(tmp_path / "a.nii", image_values()), 0.9)
    with pytest.raises(DataError, match="6 x 7 x 5 is larger than 209 voxels"):
        read_geometry(path)


def test_labels_that_do_not_fit_are_not_written(tmp_path):
    with pytest.raises(DataError, match="labels 1 x 2 x 3 do not fit the grid 5 x 7 x 6"):
        write_volume(tmp_path / "a.nii", np.zeros((1, 2, 3), int), grid())
    with pytest.raises(DataError, match="whole numbers of 32 bits"):
        write_volume(tmp_path / "a.nii", np.zeros(SHAPE), grid())
    with pytest.raises(ConfigError, match=r"written as \.nii\.gz or \.nii"):
        write_volume(tmp_path / "a.png", np.zeros(SHAPE, int), grid())
    assert list(tmp_path.iterdir()) == []


def test_equal_labels_give_equal_files(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, np.ones(SHAPE, int), grid())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
