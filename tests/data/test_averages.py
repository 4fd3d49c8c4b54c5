import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data._averages import averaged


@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 30))
def test_the_mean_of_the_cells_is_that_of_the_image(height, width, side):
    image = np.random.default_rng(height).random((height, width))
    cells = averaged(image, side)
    assert cells.shape == (side, side)
    assert cells.mean() == pytest.approx(image.mean())


def test_whole_cells_are_plain_means_in_two_and_three_dimensions():
    image = np.arange(64.0).reshape(4, 4, 4)
    assert averaged(image, 2) == pytest.approx(image.reshape(2, 2, 2, 2, 2, 2).mean(axis=(1, 3, 5)))
    assert averaged(image[0], 4).tolist() == image[0].tolist()
