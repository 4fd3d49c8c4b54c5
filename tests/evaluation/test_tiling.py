import itertools

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.evaluation import tiling
from meddistill.evaluation.sliding import sliding_slabs, window_starts
from meddistill.evaluation.tiling import ByPatches, BySlices, Resized, label_map
from meddistill.evaluation.volume_input import VolumeInput

PATCH = (6, 8, 5)


class Net(nn.Module):
    """A network with a receptive field, so that what a window shows matters."""

    def __init__(self, dims):
        super().__init__()
        torch.manual_seed(0)
        conv = nn.Conv3d if dims == 3 else nn.Conv2d
        self.layers = nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 3, 3, padding=1))
        self.shapes = []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        return self.layers(image)


def volume(*shape, seed=0):
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))


def whole(predictor, image, classes=3):
    """All slabs put together; every voxel exactly once."""
    logits = torch.full((classes, *image.shape[1:]), torch.nan)
    for where, part in predictor(image):
        assert logits[(slice(None), *where)].isnan().all()
        logits[(slice(None), *where)] = part
    assert not logits.isnan().any()
    return logits


@pytest.mark.parametrize("shape", [(17, 20, 11), (6, 8, 5), (7, 30, 6)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_sliding_equals_the_one_shot_window_of_monai(shape, overlap, batch_size, monkeypatch):
    from monai.inferers import sliding_window_inference

    monkeypatch.setattr(tiling, "SLAB_VOXELS", 600)
    network, image = Net(3).eval(), volume(*shape)
    found = whole(ByPatches(network, PATCH, overlap, batch_size), image)
    with torch.no_grad():
        expected = sliding_window_inference(image[None], PATCH, 2, network, overlap=overlap, mode="gaussian")[
            0
        ]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert all(size[2:] == PATCH for size in network.shapes)


def test_a_volume_smaller_than_the_patch_is_continued_with_its_smallest_value():
    from monai.inferers import sliding_window_inference

    network, image = Net(3).eval(), volume(4, 20, 3) + 0.5
    found = whole(ByPatches(network, PATCH), image)
    with torch.no_grad():
        expected = sliding_window_inference(
            image[None], PATCH, 1, network, overlap=0.5, mode="gaussian", cval=float(image.min())
        )[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_constant_network_stays_constant_under_the_window():
    def constant(image):
        return torch.tensor([3.25, -1.5]).view(1, 2, 1, 1, 1).expand(len(image), 2, *image.shape[2:])

    found = whole(ByPatches(constant, PATCH, 0.7), volume(13, 19, 9), classes=2)
    torch.testing.assert_close(found[0], torch.full((13, 19, 9), 3.25))
    torch.testing.assert_close(found[1], torch.full((13, 19, 9), -1.5))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_resized_to_the_training_size_and_their_logits_back(axis):
    network, image = Net(2).eval(), volume(5, 12, 9)
    found = whole(BySlices(network, (8, 8), "bilinear", axis, 2), image)
    with torch.no_grad():
        for index in range(image.shape[1 + axis]):
            plane = image.select(1 + axis, index)[None]
            small = nn.functional.interpolate(plane, (8, 8), mode="bilinear")
            expected = nn.functional.interpolate(network(small), plane.shape[2:], mode="bilinear")[0]
            torch.testing.assert_close(found.select(1 + axis, index), expected)
    assert {size[0] for size in network.shapes} <= {1, 2}


def test_slices_of_bytes_are_rounded_as_in_training():
    seen = []

    def network(image):
        seen.append(image)
        return torch.cat([image, 1 - image], dim=1)

    image = torch.tensor([[[[0, 51], [51, 255]]]], dtype=torch.uint8)
    list(BySlices(network, (1, 1), "area")(image))
    torch.testing.assert_close(seen[0], torch.full((1, 1, 1, 1), 89 / 255))


def test_slices_of_the_training_size_are_not_touched():
    network, image = Net(2).eval(), volume(3, 8, 8)
    with torch.no_grad():
        expected = network(image[0][:, None]).movedim(0, 1)
    torch.testing.assert_close(whole(BySlices(network, (8, 8)), image), expected)


@pytest.mark.parametrize("shape", [(16, 20, 12), (5, 7, 6), (8, 8, 8)])
def test_a_resized_volume_gets_trilinear_logits(shape, monkeypatch):
    monkeypatch.setattr(tiling, "SLAB_VOXELS", 100)
    network, image = Net(3).eval(), volume(*shape)
    found = whole(Resized(network, (8, 8, 8), "bilinear"), image)
    with torch.no_grad():
        small = nn.functional.interpolate(image[None], (8, 8, 8), mode="trilinear")
        expected = nn.functional.interpolate(network(small), shape, mode="trilinear")[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_label_map_takes_the_largest_logit():
    network, image = Net(3).eval(), volume(9, 10, 7)
    predictor = ByPatches(network, PATCH)
    labels = label_map(predictor(image), image.shape[1:])
    assert labels.dtype == torch.uint8
    torch.testing.assert_close(labels.long(), whole(predictor, image).argmax(0))
    assert len(labels.unique()) > 1


def test_the_network_is_left_in_training_mode_between_slabs():
    network = Net(3).train()
    for _ in ByPatches(network, PATCH)(volume(9, 10, 7)):
        assert network.training
        assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("length", [5, 6, 9, 40])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_windows_cover_the_axis_and_end_with_it(length, side):
    for overlap in (0, 0.3, 0.9):
        starts = window_starts(length, side, overlap)
        assert starts[0] == 0
        assert starts[-1] == length - side
        assert all(later - earlier <= side for earlier, later in itertools.pairwise(starts))
        assert sorted(set(starts)) == starts


@pytest.mark.parametrize(
    "options", [{"overlap": 1.0}, {"patch": (4, 4)}, {"batch_size": 0}, {"patch": (0, 4, 4)}]
)
def test_windows_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError, match="needs a patch of three sizes"):
        list(sliding_slabs(lambda image: image, volume(4, 4, 4), **{"patch": (2, 2, 2), **options}))


def test_the_way_to_take_volumes_is_checked():
    with pytest.raises(ConfigError, match="the way to take volumes must be 'slices'"):
        VolumeInput("slabs", (8, 8))
    with pytest.raises(ConfigError, match="slices need 2 sizes"):
        VolumeInput("slices", (8, 8, 8))
    assert VolumeInput("slices", (4, 4), "nearest", 2).predictor(None, batch_size=3) == BySlices(
        None, (4, 4), "nearest", 2, 3
    )
    assert VolumeInput("whole", (4, 4, 4)).predictor(None) == Resized(None, (4, 4, 4), "area")
