import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.weak import CentralDisc, Disc
from meddistill.data.weak.shapes import ball
from tests.data.weak.maps import disc, label_maps, ring


@pytest.mark.parametrize(
    ("width", "in_plane", "in_space"), [(1, 1, 1), (2, 4, 8), (3, 9, 19), (4, 12, 32), (5, 21, 81)]
)
def test_pixels_of_a_ball(width, in_plane, in_space):
    for dims, count in ((2, in_plane), (3, in_space)):
        mask = ball(width, dims)
        assert mask.shape == (width,) * dims
        assert mask.sum() == count
        assert all(mask.any(axis=tuple(set(range(dims)) - {axis})).all() for axis in range(dims))


@given(label_maps(), st.integers(1, 5), st.integers(0, 99))
def test_a_disc_is_no_wider_than_asked_for(label, width, seed):
    weak = Disc(width=width)(label, seed=seed)
    for value in (1, 2):
        pixels = np.argwhere(weak == value)
        if len(pixels):
            assert (np.ptp(pixels, axis=0) < width).all()


def test_a_disc_may_lie_anywhere_in_the_mask():
    label = np.pad(np.ones((2, 3), dtype=int), 1)
    centres = {tuple(np.argwhere(Disc(width=1)(label, seed=seed) == 1)[0]) for seed in range(200)}
    assert len(centres) == 6


def test_a_disc_inside_a_large_mask_is_whole():
    weak = CentralDisc(width=4)(disc())
    assert np.argwhere(weak == 1).min(0).tolist() == [8, 8]
    assert (weak == 1).sum() == 12


def test_the_centre_of_a_ring_is_cut_to_it():
    """The centroid of the ring lies in the hole; the nearest pixel of the ring is at its inner edge."""
    label = np.where(ring() == 2, 1, 0)
    [pixel] = np.argwhere(CentralDisc(width=1)(label) == 1)
    assert np.linalg.norm(pixel - 15) == pytest.approx(37**0.5)
    [pixel] = np.argwhere(CentralDisc(width=1, centre="deepest")(label) == 1)
    assert np.linalg.norm(pixel - 15) == pytest.approx(9, abs=1)


def test_the_deepest_pixel_lies_in_the_thick_part():
    label = np.zeros((9, 30), dtype=int)
    label[4, 1:29] = 1
    label[1:8, 22:29] = 1
    assert np.argwhere(CentralDisc(width=1, centre="deepest")(label) == 1).tolist() == [[4, 25]]
