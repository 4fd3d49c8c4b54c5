"""The coat round a network: padding, cropping, one output."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from meddistill.errors import ConfigError
from meddistill.models.adapter import SegmentationNetwork, first_output


class Recorder(nn.Module):
    """Returns the image and remembers what it saw."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return image


@given(
    size=st.lists(st.integers(1, 21), min_size=2, max_size=3),
    divisor=st.integers(1, 8),
    least=st.integers(1, 16),
)
@settings(max_examples=40)
def test_any_size_is_padded_to_a_multiple_and_cropped_back(size: list[int], divisor: int, least: int):
    least = -(-least // divisor) * divisor
    network = Recorder()
    coat = SegmentationNetwork(network, divisor=[divisor] * len(size), least=[least] * len(size)).eval()
    image = torch.rand(2, 1, *size)
    assert torch.equal(coat(image), image)
    for seen, given_ in zip(network.seen.shape[2:], size, strict=True):
        assert seen % divisor == 0
        assert seen == max(least, -(-given_ // divisor) * divisor)


def test_padding_continues_the_edge():
    network = Recorder()
    SegmentationNetwork(network, divisor=(4, 2), least=(4, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert network.seen[0, 0].tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]


def test_an_image_that_fits_is_handed_on_as_it_is():
    network = Recorder()
    image = torch.rand(1, 1, 8, 12)
    SegmentationNetwork(network, divisor=(4, 4), least=(4, 4))(image)
    assert network.seen is image


@pytest.mark.parametrize(
    "output",
    [
        torch.full((2, 3, 4, 4), 7.0),
        (torch.full((2, 3, 4, 4), 7.0), None),
        {"aux": torch.zeros(2, 3, 4, 4), "out": torch.full((2, 3, 4, 4), 7.0)},
        {"logits": torch.full((2, 3, 4, 4), 7.0)},
        torch.stack([torch.full((2, 3, 4, 4), 7.0), torch.zeros(2, 3, 4, 4)], dim=1),
    ],
)
def test_the_main_output_is_found(output: object):
    assert torch.equal(first_output(output, dims=2), torch.full((2, 3, 4, 4), 7.0))


@pytest.mark.parametrize("output", [None, [], {}, "text"])
def test_no_tensor_is_refused(output: object):
    with pytest.raises(ConfigError, match="not a tensor of logits"):
        first_output(output, dims=2)


def test_an_image_of_other_axes_is_refused():
    coat = SegmentationNetwork(Recorder(), divisor=(1, 1), least=(1, 1))
    with pytest.raises(ConfigError, match=r"2D network takes images of 4 axes.*\(1, 1, 4, 4, 4\)"):
        coat(torch.zeros(1, 1, 4, 4, 4))


def test_logits_of_another_size_are_refused():
    coat = SegmentationNetwork(nn.AvgPool2d(2), divisor=(4, 4), least=(4, 4))
    with pytest.raises(ConfigError, match="8x8 with logits of 4x4"):
        coat(torch.zeros(1, 1, 8, 8))


def test_a_single_value_to_normalise_is_refused_in_training_alone():
    network = nn.BatchNorm2d(1)
    coat = SegmentationNetwork(network, divisor=(4, 4), least=(4, 4), normalises_pooled=True)
    with pytest.raises(ConfigError, match="cannot train on one image"):
        coat.train()(torch.zeros(1, 1, 8, 8))
    assert coat.train()(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 8, 8)
    assert coat.eval()(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)
    deep = SegmentationNetwork(network, divisor=(4, 4), least=(4, 4)).train()
    assert deep(torch.zeros(1, 1, 8, 4)).shape == (1, 1, 8, 4)
    with pytest.raises(ConfigError, match="cannot train on one image of 4x4"):
        deep(torch.zeros(1, 1, 3, 4))
