import numpy as np
import pytest

from meddistill.data._glance import FRAME, SIDE, file_facts, glance
from tests.data.builders import write_image


def test_the_border_does_not_see_the_middle():
    image = np.random.default_rng(0).integers(0, 256, (1, 48, 96), dtype=np.uint8)
    changed = image.copy()
    changed[:, 4:-4, 8:-8] = 0
    assert np.array_equal(glance(image).border, glance(changed).border)
    assert not np.array_equal(glance(image).grid, glance(changed).grid)


@pytest.mark.parametrize("place", [(3, 40), (44, 40), (20, 7), (20, 88)])
def test_the_border_sees_every_side(place):
    image = np.zeros((1, 48, 96), np.uint8)
    image[0, place[0], place[1]] = 255
    assert glance(image).border.sum() == pytest.approx(1 / 8)
    assert len(glance(image).border) == SIDE**2 - (SIDE - 2 * FRAME) ** 2


def test_bytes_and_floats_of_one_image_look_alike():
    image = np.random.default_rng(1).integers(0, 256, (3, 30, 50), dtype=np.uint8)
    as_bytes, as_floats = glance(image), glance((image / 255).astype(np.float32))
    assert as_bytes.grid == pytest.approx(as_floats.grid, abs=1e-6)
    assert as_bytes.histogram == pytest.approx(as_floats.histogram)
    assert as_bytes.histogram.sum() == pytest.approx(1.0)
    assert as_bytes.kind != as_floats.kind


def test_files_are_told_by_size_ending_and_mode(tmp_path):
    grey = write_image(tmp_path / "a.png")
    colour = write_image(tmp_path / "b.PNG", np.zeros((8, 6, 3), np.uint8))
    other = write_image(tmp_path / "c.bmp")
    pixels = np.zeros((1, 8, 6), np.uint8)
    glances = [glance(pixels, file) for file in (grey, colour, other, None)]
    assert [seen.kind[:2] for seen in glances] == [(".png", "L"), (".png", "RGB"), (".bmp", "L"), ("", "")]
    facts = file_facts(glances)
    assert facts.shape == (4, 3 + 4)
    assert facts[:, 2] == pytest.approx(np.log(8 / 6))
    assert (facts[:, 3:].sum(axis=0) == 1).all()
