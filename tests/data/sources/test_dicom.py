import numpy as np
import pytest

from meddistill.data import CaseCache, DicomSource
from meddistill.data.volumes import read_geometry, write_volume
from meddistill.errors import DataError
from tests.data.volumes.builders import SHAPE, label_values, write_series

STORED = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
CLASSES = {"background": 0, "one": 1, "two": 2}


def tree(root, patients=2):
    for patient in range(patients):
        folder = write_series(root / f"patient{patient}" / "ct", STORED + patient, intercept=-1000)
        write_volume(folder.with_name("ct.nii.gz"), label_values(), read_geometry(folder))
    return root


def test_a_series_and_the_label_beside_it_are_a_case(tmp_path):
    found = DicomSource(
        tree(tmp_path), classes=CLASSES, normalise="window", window=(-1000, 0), group_pattern="^[a-z0-9]+"
    )
    assert [(case.id, case.group) for case in found.cases] == [
        ("patient0/ct", "patient0"),
        ("patient1/ct", "patient1"),
    ]
    found.check_files(found.cases)
    # The slices of this scan run against the normal.
    np.testing.assert_allclose(found.read_image(found.cases[1])[0, ::-1], (STORED + 1) / 1000, atol=1e-6)
    assert np.array_equal(found.read_label(found.cases[0]), label_values())
    assert found.geometry(found.cases[0]).spacing == pytest.approx((3, 0.8, 0.8))
    assert CaseCache(found, found.cases, size=None).size == SHAPE


def test_layouts_that_do_not_fit_are_refused(tmp_path):
    root = tree(tmp_path / "a")
    (root / "patient1/ct.nii.gz").rename(root / "other.nii.gz")
    with pytest.raises(DataError, match=r"label without DICOM series: .*other\.nii\.gz"):
        DicomSource(root, classes=CLASSES)
    (root / "other.nii.gz").unlink()
    with pytest.raises(DataError, match=r"volume without label: .*patient1/ct"):
        DicomSource(root, classes=CLASSES)
    assert len(DicomSource(root, classes=CLASSES, unlabelled="allow").cases) == 2
    with pytest.raises(DataError, match="holds slices itself; put each series into a subfolder"):
        DicomSource(root / "patient1/ct", classes=CLASSES)


def test_a_missing_slice_is_found_before_training(tmp_path):
    root = tree(tmp_path)
    (root / "patient1/ct/slice002.dcm").unlink()
    found = DicomSource(root, classes=CLASSES)
    with pytest.raises(DataError, match="patient1/ct: 1 slice missing between"):
        CaseCache(found, found.cases, size=(4, 4, 4))
