import base64
import io
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from meddistill.report.overlays import (
    LARGEST_SIDE,
    case_views,
    contour_path,
    png_address,
    uncertainty_address,
)
from meddistill.report.reading import Gallery


def points(path):
    return np.array([[float(x), float(y)] for x, y in re.findall(r"([\d.e-]+),([\d.e-]+)", path)])


def decoded(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


@settings(max_examples=50)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_a_contour_spans_exactly_the_pixels_of_its_mask(mask):
    path = contour_path(mask)
    if not mask.any():
        assert path == ""
        return
    y, x = np.nonzero(mask)
    corners = points(path)
    assert corners.min(axis=0).tolist() == [x.min(), y.min()]
    assert corners.max(axis=0).tolist() == [x.max() + 1, y.max() + 1]
    assert path.count("M") == path.count("Z")


def test_straight_edges_need_few_points():
    mask = np.zeros((100, 100), bool)
    mask[10:90, 20:80] = True
    assert len(points(contour_path(mask))) == 8


def test_images_keep_their_pixels_and_are_bounded():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(np.asarray(decoded(png_address(image))), image)
    assert decoded(png_address(np.zeros((900, 450), np.uint8))).size == (LARGEST_SIDE // 2, LARGEST_SIDE)


def test_uncertainty_is_clear_where_sure_and_opaque_where_unsure():
    shown = np.asarray(decoded(uncertainty_address(np.array([[0, 128, 255]], np.uint8))).convert("RGBA"))
    opacity = shown[0, :, 3].tolist()
    assert opacity[0] == 0
    assert opacity[0] < opacity[1] < opacity[2]
    assert opacity[2] == int(0.7 * 255)


def gallery(**changes):
    empty = np.zeros((1, 16, 16), np.int16)
    truth = empty.copy()
    truth[0, 4:8, 4:8] = 1
    values = {
        "cases": ('a "quoted" <case>',), "kinds": ("worst",), "images": np.zeros((1, 1, 16, 16), np.uint8),
        "labels": truth, "students": empty, "teachers": truth, "uncertainty": empty.astype(np.uint8),
        "dice": np.array([0.0]),
    }  # fmt: skip
    return Gallery(**{**values, **changes})


def test_panels_say_in_words_what_they_mark():
    (view,) = case_views(gallery(), ["background", "lesion"])
    assert [panel.name for panel in view.panels] == [
        "Image", "Truth", "Teacher", "Student (empty)", "Uncertainty",
    ]  # fmt: skip
    assert view.panels[1].alt == 'Truth of case a "quoted" <case> marks 16 pixels of lesion.'
    assert view.panels[3].alt.endswith("marks nothing.")
    assert "<case>" not in view.panels[1].svg


def test_the_image_is_stored_once_a_case():
    (view,) = case_views(gallery())
    whole = "".join(panel.svg for panel in view.panels)
    assert whole.count("data:image/png") == 2
    assert whole.count('href="#case0-image"') == 4


def test_ignored_pixels_have_no_contour():
    labels = np.full((1, 16, 16), -100, np.int16)
    (view,) = case_views(gallery(labels=labels))
    assert view.panels[1].name == "Truth (empty)"
