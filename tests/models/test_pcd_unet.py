"""The U-Net of P-CD: its published layout."""

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import count_parameters
from meddistill.models.pcd_unet import PCDUNet


def double_conv_parameters(low: int, mid: int, high: int) -> int:
    """Weights, biases and batch normalisation of two 3x3 convolutions."""
    return low * mid * 9 + mid + 2 * mid + mid * high * 9 + high + 2 * high


def test_parameter_count_follows_from_the_published_channels():
    encoder = [(1, 64, 64), (64, 128, 128), (128, 256, 256), (256, 512, 512), (512, 512, 512)]
    decoder = [(1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 64)]
    expected = sum(double_conv_parameters(*block) for block in encoder + decoder) + 64 * 2 + 2
    assert count_parameters(PCDUNet(in_channels=1, num_classes=2)) == expected


def test_decoder_halves_first_and_upsamples_by_nearest():
    network = PCDUNet(width=64)
    shapes = [
        (block[0].in_channels, block[0].out_channels, block[3].out_channels) for block in network.decoder
    ]
    assert shapes == [(1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 64)]
    assert network.upsample.mode == "nearest"
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 18


def test_width_scales_every_level():
    wide = [m.out_channels for m in PCDUNet(width=64).modules() if isinstance(m, nn.Conv2d)][:-1]
    narrow = [m.out_channels for m in PCDUNet(width=8).modules() if isinstance(m, nn.Conv2d)][:-1]
    assert [n * 8 for n in narrow] == wide


def test_every_parameter_learns():
    network = PCDUNet(in_channels=2, num_classes=3, width=4)
    network(torch.rand(2, 2, 32, 16)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


def test_the_highest_skip_reaches_the_head():
    """With the deepest path cut off, the logits still depend on each single pixel."""
    network = PCDUNet(width=4).eval()
    image = torch.rand(1, 1, 32, 32, requires_grad=True)
    network(image)[0, 0, 16, 16].backward()
    assert image.grad is not None
    assert float(image.grad[0, 0, 16, 16].abs()) > 0


@pytest.mark.parametrize("width", [0, 3, -4, 2.0, True, "64"])
def test_a_wrong_width_is_refused(width: int):
    with pytest.raises(ConfigError, match="width"):
        PCDUNet(width=width)
