"""The unpadded U-Net of ConfKD: its published layout."""

import itertools

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import count_parameters
from meddistill.models.confkd_unet import LEAST, ConfKDUNet


def two_convolutions(low: int, high: int) -> int:
    """Weights, biases and batch normalisation of two 3x3 convolutions."""
    return low * high * 9 + high + high * high * 9 + high + 4 * high


def transposed(low: int, high: int) -> int:
    return low * high * 4 + high


def test_parameter_count_follows_from_the_published_channels():
    down = [two_convolutions(*pair) for pair in itertools.pairwise([1, 64, 128, 256, 512])]
    up = [
        two_convolutions(low, mid) + transposed(mid, high)
        for low, mid, high in [(512, 1024, 512), (1024, 512, 256), (512, 256, 128), (256, 128, 64)]
    ]
    expected = sum(down) + sum(up) + two_convolutions(128, 64) + 64 * 2 + 2
    assert count_parameters(ConfKDUNet(in_channels=1, num_classes=2)) == expected


def test_nothing_is_padded_and_dropout_comes_before_the_fourth_pooling():
    network = ConfKDUNet(width=2)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(layer.padding == (0, 0) for layer in convolutions)
    assert len(convolutions) == 19
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in network.modules()) == 4
    found = [
        [type(m).__name__ for m in block if not isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)]
        for block in network.encoder
    ]
    assert found == [["MaxPool2d"]] * 3 + [["Dropout", "MaxPool2d"], ["ConvTranspose2d"]]


def test_sizes_inside_are_those_of_the_released_network():
    """256 pixels become 126, 61, 28 and 12; the centre gives 16, the decoder 24, 40, 72 and 68."""
    network, sizes = ConfKDUNet(width=1).eval(), []
    for block in (*network.encoder, *network.decoder):
        block.register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 256, 256)).shape == (1, 2, 256, 256)
    assert sizes == [126, 61, 28, 12, 16, 24, 40, 72, 68]


def test_smaller_images_leave_nothing():
    network = ConfKDUNet(width=1).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, LEAST, LEAST)).shape[-1] == LEAST
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 1, LEAST - 1, LEAST - 1))


def test_scales_of_normalisation_start_near_one():
    network = ConfKDUNet(width=16)
    scales = torch.cat([m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1.0, abs=0.01)
    assert 0.015 < scales.std().item() < 0.025


@pytest.mark.parametrize("width", [0, -4, 2.0, True, "64"])
def test_a_wrong_width_is_refused(width):
    with pytest.raises(ConfigError, match="width"):
        ConfKDUNet(width=width)
