import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.weak import ExtremePoints, RandomPixels
from tests.data.weak.maps import disc, label_maps


@given(label_maps())
def test_extreme_points_span_the_bounding_box(label):
    weak = ExtremePoints(parts="class")(label)
    for value in (1, 2):
        full, points = np.argwhere(label == value), np.argwhere(weak == value)
        if len(full):
            assert points.min(0).tolist() == full.min(0).tolist()
            assert points.max(0).tolist() == full.max(0).tolist()
            assert len(points) <= 2 * label.ndim


def test_the_four_points_of_a_disc():
    points = np.argwhere(ExtremePoints()(disc(radius=8)) == 1)
    assert points.tolist() == [[2, 10], [10, 2], [10, 18], [18, 10]]


def test_points_made_wider_stay_inside():
    weak, full = ExtremePoints(width=3)(disc()), disc()
    assert (weak == 1).sum() > 4
    assert (full[weak == 1] == 1).all()


@given(label_maps(), st.integers(1, 40), st.integers(0, 9))
def test_as_many_random_pixels_as_there_are(label, count, seed):
    weak = RandomPixels(count=count, background=True)(label, seed=seed)
    for value in (0, 1, 2):
        assert (weak == value).sum() == min(count, (label == value).sum())


def test_every_pixel_is_drawn_equally_often():
    label = np.zeros((1, 10), dtype=int)
    label[0, :8] = 1
    hits = sum((RandomPixels(count=2)(label, case_id=f"{n}") == 1).astype(int) for n in range(2000))
    assert hits[0, :8] == pytest.approx(500, abs=100)
