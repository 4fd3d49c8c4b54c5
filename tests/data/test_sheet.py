import numpy as np
import pytest

from meddistill.data.sheet import COLOURS, Picture, contact_sheet
from tests.data.weak.maps import ring

NAMES = ["background", "core", "ring"]


def picture(size=31, weak=True, **changes):
    label = ring(size, size // 5, size // 3)
    few = np.full_like(label, -100)
    few[size // 2, size // 2] = 1
    few[0, 0] = 0
    shown = {"image": np.zeros((1, size, size), np.uint8), "label": label, "weak": few if weak else None}
    return Picture("case 1", "2 pixels", **{**shown, **changes})


def colours(sheet, left, right):
    """Number of pixels of each class colour between two places across, below the legend."""
    pixels = np.asarray(sheet)[36:, left:right]
    return [int((pixels == colour).all(-1).sum()) for colour in COLOURS[:3]]


def test_every_labelled_pixel_can_be_seen():
    """31 pixels are enlarged 11 times: on the left one of each of two classes, on the right all."""
    sheet = contact_sheet([picture()], NAMES)
    assert sheet.size == (2 * 341 + 4 + 16, 36 + 341 + 40 + 8)
    assert colours(sheet, 8, 8 + 341) == [121, 121, 0]
    background, core, outer = colours(sheet, 8 + 341, sheet.width)
    assert background == 0
    assert core > 500
    assert outer > 500


def test_a_large_image_loses_no_labelled_pixel():
    sheet = contact_sheet([picture(1500)], NAMES)
    assert sheet.width == 2 * 512 + 4 + 16
    background, core, _ = colours(sheet, 8, 8 + 512)
    assert 1 < background < core < 40, "each is ringed, one of them in the corner"


def test_a_dozen_cases_fill_rows():
    one, many = (contact_sheet([picture(64)] * count, NAMES) for count in (1, 12))
    tile = one.width - 16
    assert many.width == 3 * (tile + 8) + 8
    assert (many.height - 44) == 4 * (one.height - 44) + 3 * 8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_of_every_kind(channels, kind):
    value = 255 if kind is np.uint8 else 1.0
    white = picture(image=np.full((channels, 31, 31), value, kind), weak=False)
    assert np.asarray(contact_sheet([white], NAMES))[100, 20].tolist() == [255, 255, 255]
