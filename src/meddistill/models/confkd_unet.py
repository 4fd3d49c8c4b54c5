"""The unpadded U-Net of mixed supervision (ConfKD).

Source: Dolz, Desrosiers and Ben Ayed, "Teach me to segment with mixed supervision" (IPMI 2021), as its
released code builds it: 64-128-256-512 channels and a centre of 1024, convolutions without padding, skips
taken behind the pooling and brought to size bilinearly, transposed convolutions, dropout before the fourth
pooling. After Ronneberger et al. (MICCAI 2015).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.errors import ConfigError

LEAST = 188
"""The smallest side: the unpadded convolutions leave nothing of smaller images."""


def _twice(in_channels: int, channels: int) -> list[nn.Module]:
    """Twice: 3x3 convolution without padding, batch normalisation, ReLU."""
    sizes = [in_channels, channels, channels]
    return [
        layer
        for low, high in itertools.pairwise(sizes)
        for layer in (nn.Conv2d(low, high, kernel_size=3), nn.BatchNorm2d(high), nn.ReLU(inplace=True))
    ]


def _down(in_channels: int, channels: int, dropout: float = 0.0) -> nn.Sequential:
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*_twice(in_channels, channels), *drop, nn.MaxPool2d(2))


def _up(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    double = nn.ConvTranspose2d(channels, out_channels, kernel_size=2, stride=2)
    return nn.Sequential(*_twice(in_channels, channels), double)


class ConfKDUNet(nn.Module):
    """U-Net with four poolings, a centre and no padding; 64-128-256-512-1024 channels at width 64.

    Its answer covers the middle of the image and is stretched over all of it. Under `dual_decoder` the centre
    belongs to the shared encoder. Convolutions start from Xavier's normal distribution, the scales of batch
    normalisation from N(1, 0.02).

    Args:
        in_channels: image channels.
        num_classes: K, background included.
        width: channels of the first level; all others scale with it.

    Raises:
        ConfigError: `width` is not a whole number above 0.

    Example:
        >>> network = ConfKDUNet(in_channels=1, num_classes=2, width=2).eval()
        >>> network(torch.zeros(1, 1, 188, 200)).shape
        torch.Size([1, 2, 188, 200])
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 2, width: int = 64) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ConfigError(f"width is {width!r}; give a whole number above 0, for example 64")
        super().__init__()
        one, two, four, eight = width, 2 * width, 4 * width, 8 * width
        self.encoder = nn.ModuleList(
            [
                _down(in_channels, one),
                _down(one, two),
                _down(two, four),
                _down(four, eight, dropout=0.5),
                _up(eight, 2 * eight, eight),  # the centre
            ]
        )
        self.decoder = nn.ModuleList(
            [
                _up(2 * eight, eight, four),
                _up(2 * four, four, two),
                _up(2 * two, two, one),
                nn.Sequential(*_twice(2 * one, one)),
            ]
        )
        self.head = nn.Conv2d(one, num_classes, kernel_size=1)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W) of an image (B, C, H, W) whose height and width are 188 or more."""
        skips, path = [], image
        for block in self.encoder:
            path = block(path)
            skips.append(path)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            fitted = F.interpolate(skip, size=path.shape[2:], mode="bilinear")
            path = block(torch.cat([path, fitted], dim=1))
        return F.interpolate(self.head(path), size=image.shape[2:], mode="bilinear")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
