from pathlib import Path

import numpy as np
import pytest

from meddistill.data import Geometry
from meddistill.data.volumes.geometry import check_same_grid
from meddistill.errors import DataError

IMAGE, LABEL = Path("a/image.nii"), Path("b/label.nii")


def test_spacing_is_the_length_of_a_step_in_array_order():
    affine = np.array([[0, 0, 4, 1], [3, 0, 0, 2], [0, -2, 0, 3], [0, 0, 0, 1.0]])
    found = Geometry.from_affine(affine, (5, 6, 7))
    assert (found.spacing, found.unit, found.orientation) == ((4, 2, 3), "mm", "AIR")
    unknown = Geometry.from_affine(affine, (5, 6, 7), spacing_known=False)
    assert (unknown.spacing, unknown.unit) == (None, None)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1, 1, 0, 1])])
def test_an_affine_must_have_an_inverse(wrong):
    with pytest.raises(DataError, match="the affine has no inverse"):
        Geometry.from_affine(wrong, (1, 1, 1))


def compare(label, image):
    check_same_grid(LABEL, label, IMAGE, image)


def test_grids_are_compared_at_their_corners():
    shape = (11, 21, 31)
    image = Geometry.from_affine(np.diag([2, 2, 5, 1]), shape)
    compare(Geometry.from_affine(np.diag([2.006, 2, 5, 1]), shape), image)  # 30 steps of 0.006: 0.09 voxels
    with pytest.raises(
        DataError, match=r"b/label\.nii: the affine differs .* image\.nii .*0\.15 voxels apart"
    ):
        compare(Geometry.from_affine(np.diag([2.01, 2, 5, 1]), shape), image)
    flipped = np.diag([-2.0, 2, 5, 1])
    flipped[0, 3] = 60
    with pytest.raises(
        DataError, match=r"\(orientation LAS and RAS, corners up to 30 voxels apart\); resample"
    ):
        compare(Geometry.from_affine(flipped, shape), image)


def test_units_do_not_matter_to_the_comparison():
    image = Geometry.from_affine(np.diag([2, 2, 5, 1]), (3, 3, 3))
    compare(Geometry.from_affine(np.diag([0.002, 0.002, 0.005, 1]), (3, 3, 3), affine_unit="meter"), image)


def test_shapes_must_agree():
    image = Geometry.from_affine(np.eye(4), (3, 4, 5))
    with pytest.raises(DataError, match=r"the label is 5 x 4 x 3, but its image image\.nii is 3 x 4 x 5"):
        compare(Geometry.from_affine(np.eye(4), (5, 4, 3)), image)
