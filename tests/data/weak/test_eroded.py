import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from meddistill.data.weak import Eroded
from tests.data.weak.maps import disc, label_maps


def as_published(mask, iterations):
    """Erosions by the full structuring element, one fewer each time, until something is left."""
    for count in range(iterations, 0, -1):
        eroded = binary_erosion(mask, np.ones((3,) * mask.ndim), iterations=count)
        if eroded.any():
            return eroded
    return mask


@given(label_maps(), st.integers(0, 4))
def test_it_is_the_published_erosion(label, iterations):
    weak = Eroded(iterations=iterations)(label)
    for value in (1, 2):
        assert np.array_equal(weak == value, as_published(label == value, iterations))


@pytest.mark.parametrize(("radius", "left"), [(1, 5), (2, 1), (16, 13)])
def test_sizes_worked_out_by_hand(radius, left):
    """Of radius 1 nothing survives, of radius 2 the middle; of radius 16 a diamond, after 10 erosions."""
    assert (Eroded()(disc(41, radius)) == 1).sum() == left


def test_the_edge_of_the_image_erodes_too():
    weak = Eroded(iterations=1)(np.ones((4, 5), dtype=int))
    assert np.argwhere(weak == 1).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
