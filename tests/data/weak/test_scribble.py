import numpy as np
import pytest
from hypothesis import given
from scipy import ndimage

from meddistill.data.phantom import phantom_case
from meddistill.data.weak import Scribble
from meddistill.data.weak.paths import central_path
from meddistill.data.weak.shapes import depth
from tests.data.weak.maps import label_maps, ring


def strokes(weak, value=1):
    return ndimage.label(weak == value, np.ones((3,) * weak.ndim))[1]


@given(label_maps())
def test_one_stroke_for_each_object(label):
    weak = Scribble()(label)
    for value in (1, 2):
        _, objects = ndimage.label(label == value, np.ones((3,) * label.ndim))
        assert strokes(weak, value) == objects


def test_a_bar_is_crossed_along_its_middle():
    label = np.zeros((7, 40), dtype=int)
    label[1:6, 2:38] = 1
    pixels = np.argwhere(Scribble(length=0.5)(label) == 1)
    assert set(pixels[:, 0]) == {3}
    assert np.ptp(pixels[:, 1]) == 17


@pytest.mark.parametrize("length", [1.0, 0.7, 0.3])
def test_the_share_that_is_kept(length):
    pixels = np.argwhere(Scribble(length=length)(np.ones((1, 20), dtype=int)) == 1)[:, 1]
    assert len(pixels) == round(20 * length)
    assert pixels.mean() == 9.5


def test_a_stroke_follows_a_bent_object():
    """Half way round a ring, in the middle between its edges, and not through the hole."""
    path = central_path(ring() == 2)
    distance = np.linalg.norm(path - 15, axis=1)
    assert distance.min() > 6
    inner = distance[len(path) // 5 : -len(path) // 5]
    assert inner.min() > 7.5
    assert inner.max() < 11
    angles = np.unwrap(np.arctan2(*(path - 15).T))
    assert abs(angles[-1] - angles[0]) == pytest.approx(np.pi, abs=0.5)


def test_steps_lead_to_neighbours_through_a_volume():
    label = phantom_case(3, size=(40, 40, 40), lesions=1)[1] == 1
    path = central_path(label)
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert label[tuple(path.T)].all()
    middle = depth(label)[tuple(path.T)][len(path) // 4 : -len(path) // 4]
    assert middle.mean() > 0.6 * depth(label).max()


def test_thickness_is_across_and_stays_inside():
    label = np.zeros((9, 40), dtype=int)
    label[2:7, 2:38] = 1
    weak = Scribble(thickness=3, length=0.5)(label)
    assert (weak[:, 20] == 1).sum() == 3
    assert ((Scribble(thickness=30)(label) == 1) <= (label == 1)).all()


def test_the_background_gets_a_stroke_that_stays_away_from_the_object():
    weak = Scribble(background=True)(ring())
    pixels = np.argwhere(weak == 0)
    assert len(pixels) > 15
    assert np.linalg.norm(pixels - 15, axis=1).min() > 12
