import numpy as np
from hypothesis import given

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.weak import Box
from tests.data.weak.maps import label_maps, ring

UNKNOWN = IGNORE_INDEX


def test_smaller_boxes_lie_on_top():
    weak = Box()(ring())
    assert (weak[9:22, 9:22] == 1).all()
    assert (weak[3:28, 3:28] > 0).all()
    assert weak[3, 3] == 2
    assert (weak == 2).sum() == 25**2 - 13**2
    assert (weak[:3] == UNKNOWN).all()


def test_a_box_for_each_object_or_for_all():
    label = np.zeros((4, 9), dtype=int)
    label[1, 1] = label[2, 7] = 1
    assert (Box()(label) == 1).sum() == 2
    assert (Box(parts="class")(label) == 1).sum() == 14
    assert np.argwhere(Box(margin=1)(label)[:2] == 1).tolist() == [
        *([0, 0], [0, 1], [0, 2]),
        *([1, 0], [1, 1], [1, 2], [1, 6], [1, 7], [1, 8]),
    ]


def test_the_outside_is_background():
    label = np.zeros((4, 9), dtype=int)
    label[1, 1:3] = 2
    label[3, 8] = UNKNOWN
    weak = Box(background=True)(label)
    assert np.argwhere(weak == 2).tolist() == [[1, 1], [1, 2]]
    assert (weak == 0).sum() == 33
    assert weak[3, 8] == UNKNOWN


@given(label_maps())
def test_what_is_outside_all_boxes_is_never_wrong(label):
    weak = Box(inside="unknown", background=True, margin=1)(label)
    assert (label[weak == 0] == 0).all()
    assert set(np.unique(weak)) <= {0, UNKNOWN}
    assert (weak[label > 0] == UNKNOWN).all()


def test_boxes_of_a_volume_slice_by_slice():
    label = np.zeros((3, 5, 5), dtype=int)
    label[0, 1:3, 1:3] = label[1, 3, 3] = 1
    assert (Box()(label) == 1).sum() == 18
    assert (Box(axis=0)(label) == 1).sum() == 5
    assert (Box(axis=0, margin=1)(label)[2] == UNKNOWN).all()
