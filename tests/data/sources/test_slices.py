import pickle

import numpy as np
import pytest

from meddistill.data import CaseCache, SliceSource, Source, VolumeFolderSource, check_no_leak, split_cases
from meddistill.errors import ConfigError, DataError
from tests.data.volumes.builders import CLASSES, SHAPE, image_values, volume_tree, write_nifti


class Counting(VolumeFolderSource):
    """Counts how often each volume is decoded."""

    def read_image(self, case):
        self.root.joinpath("decoded").open("a").write(case.id + "\n")
        return super().read_image(case)


def volumes(root, kind=VolumeFolderSource, **options):
    return kind(volume_tree(root), classes=CLASSES, ignore_value=4, group_pattern=r"^(patient\d+)", **options)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_the_planes_of_the_volumes(tmp_path, axis):
    whole = volumes(tmp_path)
    found = SliceSource(whole, axis)
    assert isinstance(found, Source)
    assert (found.dims, found.in_channels, found.class_names) == (2, 1, ("background", "organ"))
    assert len(found.cases) == 6 * SHAPE[axis]
    assert found.cases[1].id == "patient1_frame1/001"
    for case in found.cases[:: SHAPE[axis] - 1]:
        volume, number = found.volume_of(case), found.slice_of(case)
        assert case.id == f"{volume.id}/{number:03}"
        assert case.group == volume.group
        assert np.array_equal(found.read_image(case), whole.read_image(volume).take(number, axis + 1))
        assert np.array_equal(found.read_label(case), whole.read_label(volume).take(number, axis))
        assert np.array_equal(found.read_weak(case), whole.read_weak(volume).take(number, axis))


def test_the_cache_decodes_each_volume_once(tmp_path):
    found = SliceSource(volumes(tmp_path, Counting))
    cache = CaseCache(found, found.cases, size=(8, 8))
    assert len(cache) == 30
    decoded = (tmp_path / "decoded").read_text().split()
    assert sorted(decoded) == sorted(case.id for case in found.volumes.cases)
    image, label = cache.read(1)
    assert (image.shape, label.shape) == ((1, 8, 8), (8, 8))


def test_slices_can_be_written_to_and_sent_to_another_process(tmp_path):
    found = pickle.loads(pickle.dumps(SliceSource(volumes(tmp_path))))  # noqa: S301
    case = found.cases[0]
    image = found.read_image(case)
    image += 1
    assert found.read_image(case).max() <= 1


def test_splits_of_slices_are_those_of_the_volumes(tmp_path):
    found = SliceSource(volumes(tmp_path))
    shares = {"train": 1 / 3, "selection": 1 / 3, "test": 1 / 3}
    whole = split_cases(found.volumes, fractions=shares, seed=3)
    split = found.split(whole)
    check_no_leak(split)
    for name, cases in whole.cases.items():
        assert found.volume_cases(split.cases[name]) == cases
        assert len(split.cases[name]) == SHAPE[0] * len(cases)
    assert split.note.endswith("slices: train 10, selection 10, calibration 0, test 10")


def test_headers_are_compared_by_volume(tmp_path):
    found = SliceSource(volumes(tmp_path))
    write_nifti(tmp_path / "labels/patient2_frame1.nii.gz", image_values(), np.diag([2, 2, 2, 1]))
    found.check_files(found.cases[:10])
    with pytest.raises(DataError, match=r"labels/patient2_frame1\.nii\.gz: the affine differs"):
        CaseCache(found, found.cases, size=None)


def test_an_axis_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="axis must be 0, 1 or 2, not 3"):
        SliceSource(volumes(tmp_path), 3)
