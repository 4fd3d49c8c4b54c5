"""The certainty of a label against its definition, and what must hold to the last bit."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from meddistill.errors import ConfigError
from meddistill.losses import label_smoothing_map
from meddistill.losses.certainty import label_certainty


def by_convolution(labels: torch.Tensor, num_classes: int, size: int = 3, sigma: float = 1.0) -> torch.Tensor:
    """The share of the own class under the whole kernel, labels without a class left out."""
    dims, radius = labels.ndim - 1, size // 2
    axis = torch.exp(-(torch.arange(-radius, radius + 1).double() ** 2) / (2 * sigma**2))
    kernel = axis
    for _ in range(dims - 1):
        kernel = kernel.unsqueeze(-1) * axis
    kernel[(radius,) * dims] = 0
    kernel /= kernel.sum()
    kernel[(radius,) * dims] = 1
    convolve = F.conv2d if dims == 2 else F.conv3d
    one_hot = torch.stack([(labels == k).double() for k in range(num_classes)], dim=1)
    padded = F.pad(one_hot, (radius,) * 2 * dims, mode="replicate")
    weight = kernel.expand(num_classes, 1, *kernel.shape)
    share = convolve(padded, weight, groups=num_classes)
    return ((share / share.sum(1, keepdim=True).clamp(min=0.1)) * one_hot).sum(1).float()


def patches(shape: tuple[int, ...], num_classes: int, *, ignored: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Random labels in patches of two pixels, some of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(num_classes, (shape[0], *((n + 1) // 2 for n in shape[1:])), generator=generator)
    for axis in range(1, len(shape)):
        coarse = coarse.repeat_interleave(2, axis).narrow(axis, 0, shape[axis])
    return coarse.masked_fill(torch.rand(shape, generator=generator) < ignored, -100)


@pytest.mark.parametrize("num_classes", [2, 3, 5, 14])
@pytest.mark.parametrize("shape", [(2, 9, 7), (2, 5, 6, 7)])
@pytest.mark.parametrize("ignored", [0.0, 0.2, 0.9])
def test_agrees_with_its_definition(num_classes, shape, ignored):
    labels = patches(shape, num_classes, ignored=ignored)
    torch.testing.assert_close(label_certainty(labels, num_classes), by_convolution(labels, num_classes))


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize(("size", "sigma"), [(3, 0.4), (3, 5.0), (5, 1.0), (7, 2.0)])
@pytest.mark.parametrize("shape", [(1, 9, 8), (1, 5, 4, 6)])
def test_agrees_for_other_kernels(num_classes, size, sigma, shape):
    labels = patches(shape, num_classes)
    expected = by_convolution(labels, num_classes, size, sigma)
    torch.testing.assert_close(label_certainty(labels, num_classes, kernel_size=size, sigma=sigma), expected)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("centre", ["middle", "corner"])
def test_is_the_largest_share_of_the_smoothed_labels(num_classes, size, centre):
    for shape in ((2, 8, 9), (1, 5, 6, 4)):
        labels = patches(shape, num_classes)
        options = {"kernel_size": size, "centre": centre}
        largest = label_smoothing_map(labels, num_classes, **options).amax(1)
        torch.testing.assert_close(label_certainty(labels, num_classes, **options), largest)


@given(data=st.data(), num_classes=st.sampled_from([2, 3, 300]), dims=st.integers(2, 3))
@settings(max_examples=25)
def test_lies_between_one_half_and_one_and_is_zero_where_ignored(data, num_classes, dims):
    shape = (1, *data.draw(st.lists(st.integers(1, 4), min_size=dims, max_size=dims)))
    values = st.sampled_from([0, 1, num_classes - 1, num_classes, -1, -100, 256])
    cells = data.draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    labels = torch.tensor(cells).view(shape)
    certainty, known = label_certainty(labels, num_classes), (labels >= 0) & (labels < num_classes)
    assert (certainty[known] >= 0.5 - 1e-6).all()
    assert (certainty[known] <= 1).all()
    assert not certainty[~known].any()
    torch.testing.assert_close(certainty, label_smoothing_map(labels, num_classes).amax(1))


@pytest.mark.parametrize("num_classes", [2, 5])
def test_is_exactly_one_away_from_every_contour(num_classes):
    labels = torch.full((1, 6, 6, 6), num_classes - 1)
    labels[..., :2] = 0
    labels[0, 5, 5, 5] = -100
    certainty = label_certainty(labels, num_classes)
    certain = certainty == 1
    assert certain[..., 0].all()
    assert certain[..., 3:].flatten()[:-1].all()
    assert not certain[..., 1:3].any()


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("shape", [(1, 7, 6), (1, 5, 6, 4)])
def test_mirrored_or_renamed_labels_agree_to_the_last_bit(num_classes, shape):
    """So that a threshold at one of the few values it takes divides mirrored images alike."""
    labels = patches(shape, num_classes)
    certainty = label_certainty(labels, num_classes)
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(1, len(shape)), n) for n in range(1, len(shape))
    ):
        assert torch.equal(label_certainty(labels.flip(axes), num_classes), certainty.flip(axes))
    renamed = torch.where(labels >= 0, num_classes - 1 - labels, labels)
    assert torch.equal(label_certainty(renamed, num_classes), certainty)


def test_reads_nothing_back_from_the_device():
    for num_classes in (2, 3):
        labels = torch.zeros(2, 5, 6, dtype=torch.long, device="meta")
        assert label_certainty(labels, num_classes).shape == (2, 5, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 2}, "kernel_size must be odd"),
        ({"sigma": -1.0}, "sigma must be a number above 0"),
        ({"sigma": 0.01}, "sigma 0.01 leaves the neighbours of a pixel no weight"),
        ({"centre": "edge"}, "unknown centre"),
    ],
)
def test_impossible_kernels_are_refused(options, message):
    for num_classes in (2, 3):
        with pytest.raises(ConfigError, match=message):
            label_certainty(torch.zeros(1, 4, 4), num_classes, **options)


def test_labels_that_are_no_maps_are_refused():
    with pytest.raises(ValueError, match=r"labels \(4,\) are no maps"):
        label_certainty(torch.zeros(4), 2)
