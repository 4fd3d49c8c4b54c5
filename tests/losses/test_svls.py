import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError
from meddistill.losses import LabelSmoothingMap, label_smoothing_map


def own_share(labels: torch.Tensor, num_classes: int = 2, **options) -> torch.Tensor:
    soft = label_smoothing_map(labels, num_classes, **options)
    return soft.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)


def plane(*sizes: int) -> torch.Tensor:
    return torch.zeros(1, *sizes, dtype=torch.long)


def by_loops(labels: torch.Tensor, num_classes: int, size: int, sigma: float) -> torch.Tensor:
    """The definition, pixel by pixel: a centre of 1, neighbours g / (1 - g_0), borders replicated."""
    dims, radius = labels.ndim - 1, size // 2
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=dims))
    gauss = {o: math.exp(-sum(i * i for i in o) / (2 * sigma**2)) for o in offsets}
    total = sum(gauss.values())
    kernel = {o: g / total / (1 - gauss[(0,) * dims] / total) for o, g in gauss.items()}
    kernel[(0,) * dims] = 1.0
    soft = torch.zeros(labels.shape[0], num_classes, *labels.shape[1:])
    for position in itertools.product(*map(range, labels.shape)):
        for offset, weight in kernel.items():
            shifted = [
                min(max(p + o, 0), n - 1)
                for p, o, n in zip(position[1:], offset, labels.shape[1:], strict=True)
            ]
            label = labels[(position[0], *shifted)]
            soft[(position[0], label, *position[1:])] += weight / sum(kernel.values())
    return soft


@pytest.mark.parametrize(
    ("shape", "size", "sigma"), [((2, 5, 6), 3, 1.0), ((1, 6, 7), 5, 0.7), ((1, 4, 3, 5), 3, 1.0)]
)
def test_agrees_with_the_definition(shape, size, sigma):
    labels = torch.randint(3, shape, generator=torch.Generator().manual_seed(0))
    expected = by_loops(labels, 3, size, sigma)
    torch.testing.assert_close(label_smoothing_map(labels, 3, kernel_size=size, sigma=sigma), expected)


def test_shares_of_the_default_kernel():
    lone = plane(5, 5)
    lone[0, 2, 2] = 1
    share = label_smoothing_map(lone, 2)[0, 1]
    assert share[2, 2].item() == pytest.approx(0.5)
    assert share[2, 1].item() == pytest.approx(0.0778, abs=5e-5)
    assert share[1, 1].item() == pytest.approx(0.0472, abs=5e-5)


def test_interior_is_certain_and_a_straight_edge_is_not():
    half = plane(6, 6)
    half[..., 3:] = 1
    assert own_share(half)[0, 2].tolist() == pytest.approx([1, 1, 0.8278, 0.8278, 1, 1], abs=5e-5)


def test_no_pixel_of_a_disc_falls_below_one_half():
    y, x = torch.meshgrid(torch.arange(21), torch.arange(21), indexing="ij")
    disc = ((y - 10) ** 2 + (x - 10) ** 2 <= 42).long().unsqueeze(0)
    values = {round(v, 4) for v in own_share(disc).unique().tolist()}
    assert values == {1.0, 0.9528, 0.875, 0.8278, 0.7972, 0.75}


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_centre_keeps_exactly_one_half(size, dims):
    lone = plane(*[9] * dims)
    lone[(0, *[4] * dims)] = 1
    assert own_share(lone, kernel_size=size)[(0, *[4] * dims)].item() == pytest.approx(0.5, abs=1e-6)


def test_the_released_centre_is_wrong_for_larger_kernels_only():
    lone = plane(9, 9)
    lone[0, 4, 4] = 1
    for size, share in ((3, 0.5), (5, 0.5288)):
        released = own_share(lone, kernel_size=size, centre="corner")[0, 4, 4].item()
        assert released == pytest.approx(share, abs=5e-5)


def test_borders_are_replicated():
    half = plane(4, 4)
    half[:, 2:] = 1
    share = own_share(half)
    assert torch.equal(share[..., 0], share[..., 1])


@given(data=st.data(), num_classes=st.integers(2, 4), dims=st.integers(2, 3))
@settings(max_examples=25)
def test_labelled_pixels_keep_at_least_half_and_sum_to_one(data, num_classes, dims):
    shape = (1, *data.draw(st.lists(st.integers(1, 4), min_size=dims, max_size=dims)))
    values = st.sampled_from([*range(num_classes), -100])
    cells = data.draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))
    labels = torch.tensor(cells).view(shape)
    soft = label_smoothing_map(labels, num_classes)
    known = labels >= 0
    torch.testing.assert_close(soft.sum(1), known.float())
    assert (own_share(labels, num_classes)[known] >= 0.5 - 1e-6).all()


def test_an_ignored_neighbour_passes_nothing_on():
    labels = plane(3, 3)
    labels[0, 1, 2] = 1
    hidden = labels.clone()
    hidden[0, 1, 2] = -100
    soft = label_smoothing_map(hidden, 2)
    assert soft[0, 0][hidden[0] == 0].unique().tolist() == [1.0]
    assert soft[0, :, 1, 2].tolist() == [0.0, 0.0]


def test_neighbours_of_an_ignored_pixel_are_renormalised():
    labels = torch.tensor([[[0, 1, -100]]])
    edge, corner = 0.0778, 0.0472  # the column to the left, top and bottom replicated
    left = edge + 2 * corner
    own = 0.5 + 2 * edge
    expected = own / (own + left)
    assert own_share(labels)[0, 0, 1].item() == pytest.approx(expected, abs=1e-4)


def test_precision_survives_autocast():
    labels = torch.randint(2, (1, 8, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = label_smoothing_map(labels, 2)
    assert torch.equal(inside, label_smoothing_map(labels, 2))


def test_module_stores_its_arguments():
    labels = torch.randint(2, (1, 8, 8))
    module = LabelSmoothingMap(2, kernel_size=5, sigma=2.0, centre="corner")
    expected = label_smoothing_map(labels, 2, kernel_size=5, sigma=2.0, centre="corner")
    assert torch.equal(module(labels), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"kernel_size": 1}, "kernel_size must be odd"),
        ({"kernel_size": 3.0}, "kernel_size must be a whole number"),
        ({"sigma": 0}, "sigma must be a number above 0"),
        ({"centre": "centre"}, "unknown centre"),
    ],
)
def test_impossible_kernels_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        label_smoothing_map(plane(4, 4), 2, **options)


def test_labels_that_are_no_maps_are_refused():
    with pytest.raises(ValueError, match=r"labels \(4,\) are no maps"):
        label_smoothing_map(torch.zeros(4), 2)
