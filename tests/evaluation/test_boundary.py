import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from meddistill.evaluation import boundary
from meddistill.evaluation.boundary import boundary_distances, bounding_box


@st.composite
def pairs(draw):
    """Two masks, neither empty, sparse or dense, and the size of their pixels."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    masks = [draw(arrays(np.bool_, shape)) for _ in range(2)]
    for mask in masks:
        mask[tuple(draw(st.integers(0, size - 1)) for size in shape)] = True
    sampling = tuple(draw(st.sampled_from([0.5, 0.7, 1.0, 2.5])) for _ in shape)
    return *masks, sampling


def by_hand(first, second, sampling):
    """From every surface pixel to every other, and the smallest."""
    points = [np.argwhere(mask & ~binary_erosion(mask)) * sampling for mask in (first, second)]
    apart = cdist(*points)
    return apart.min(axis=1), apart.min(axis=0)


@pytest.mark.parametrize("many", [0, 10_000])
@settings(max_examples=100)
@given(pair=pairs())
def test_distances_are_the_smallest_of_all(many, pair):
    """By looking round first (`many` is 0) and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "_MANY", many)
        found = boundary_distances(*pair)
    for distances, expected in zip(found, by_hand(*pair), strict=True):
        np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_many_points_far_and_near_have_their_distances():
    """More points than are asked for at once, some of them farther away than is looked."""
    first, second = np.zeros((2, 40, 14, 12), bool)
    first[1:30, 1:13, :], second[1:25, 2:13, 3:] = True, True
    here, there = boundary_distances(first, second, (1.0, 0.8, 2.0))
    assert min(len(here), len(there)) > boundary._MANY
    assert here.max() > 3
    for distances, expected in zip((here, there), by_hand(first, second, (1.0, 0.8, 2.0)), strict=True):
        np.testing.assert_allclose(distances, expected, rtol=1e-12)


def test_near_pixels_are_nearer_than_any_that_is_not_looked_at():
    for sampling in [(1.0, 1.0), (0.7, 0.7, 1.5), (5.0, 0.8, 0.8)]:
        groups = boundary._neighbours(sampling)
        distances = [distance for distance, _ in groups]
        assert distances == sorted(distances)
        assert distances[0] == 0
        assert distances[-1] < 3 * min(sampling)
        for distance, offsets in groups:
            np.testing.assert_allclose(np.linalg.norm(offsets * sampling, axis=1), distance, rtol=1e-12)


def test_a_box_is_tight_and_empty_for_an_empty_mask():
    mask = np.zeros((5, 6, 7), bool)
    assert mask[bounding_box(mask)].size == 0
    mask[1, 2, 3] = mask[3, 2, 5] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 3), slice(3, 6))
