import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional as F

from meddistill.data.resize import checked_size, resize_image, resize_label, resize_weak
from meddistill.errors import ConfigError

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=3)


@settings(max_examples=50)
@given(sizes, st.data())
def test_labels_agree_with_nearest_exact_in_2d_and_3d(old, data):
    new = tuple(data.draw(st.lists(st.integers(1, 9), min_size=len(old), max_size=len(old))))
    label = torch.randint(-100, 5, tuple(old), dtype=torch.int16)
    expected = F.interpolate(label[None, None].double(), size=new, mode="nearest-exact")[0, 0]
    assert torch.equal(resize_label(label, new).double(), expected)


@pytest.mark.parametrize(("mode", "torch_mode"), [("bilinear", "trilinear"), ("area", "area")])
def test_float_volumes_agree_with_torch(mode, torch_mode):
    image = torch.rand(2, 4, 6, 8)
    expected = F.interpolate(image[None], size=(3, 3, 5), mode=torch_mode)[0]
    assert torch.equal(resize_image(image, (3, 3, 5), mode), expected)


def test_uint8_is_rounded_not_cut():
    image = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert resize_image(image, (1, 1), "area").item() == 128
    assert resize_image(image, (1, 4), "nearest").tolist() == [[[0, 0, 255, 255]]]


def test_same_size_is_left_alone():
    image = torch.rand(1, 5, 7)
    assert resize_image(image, (5, 7)) is image


@pytest.mark.parametrize(("size", "dims"), [((4, 4), 3), (0, 2), ((4, -1), 2)])
def test_wrong_sizes_are_refused(size, dims):
    with pytest.raises(ConfigError, match="size must be"):
        checked_size(size, dims)


@given(
    arrays.arrays(
        np.int16, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([-100, 0, 1, 2])
    ),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_no_weak_label_is_lost(label, size):
    """Every labelled pixel lies under one of the new size that is labelled, and nothing is made up."""
    small = resize_weak(torch.from_numpy(label), size).numpy()
    assert small.shape == size
    assert set(np.unique(small)) <= set(np.unique(label))
    for row, column in np.argwhere(label != -100):
        place = tuple(
            int((at + 0.5) * new / old) for at, new, old in zip((row, column), size, label.shape, strict=True)
        )
        assert small[place] != -100
    assert (small != -100).any() == (label != -100).any()


def test_the_class_of_most_labelled_pixels_wins():
    label = torch.tensor([[1, 1, -100, 0], [2, -100, -100, 3]], dtype=torch.int16)
    assert resize_weak(label, (1, 2)).tolist() == [[1, 3]]


def test_a_weak_label_of_a_volume():
    label = torch.full((4, 4, 4), -100)
    label[3, 0, 1] = 2
    assert (resize_weak(label, (2, 2, 2)) != -100).nonzero().tolist() == [[1, 0, 0]]
