"""The U-Net of paced-curriculum distillation.

Source: Islam et al., "Paced-curriculum distillation with prediction and label uncertainty for image
segmentation" (IJCARS 2023), as its released code builds it: 64-128-256-512-512 channels, batch
normalisation, nearest-neighbour upsampling, and decoder blocks whose first convolution halves its input
channels. After Ronneberger et al. (MICCAI 2015), with padded convolutions.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError


class DoubleConv(nn.Sequential):
    """Twice: 3x3 convolution, batch normalisation, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        mid_channels: channels between the two convolutions; `out_channels` when None.

    Example:
        >>> DoubleConv(4, 8)(torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(self, in_channels: int, out_channels: int, mid_channels: int | None = None) -> None:
        mid = mid_channels or out_channels
        super().__init__(
            nn.Conv2d(in_channels, mid, kernel_size=3, padding=1),
            nn.BatchNorm2d(mid),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid, out_channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class PCDUNet(nn.Module):
    """U-Net with four poolings; 64-128-256-512-512 channels at width 64.

    Args:
        in_channels: image channels.
        num_classes: K, background included.
        width: channels of the first level; all others scale with it. Even.

    Raises:
        ConfigError: `width` is not an even number above 0.

    Example:
        >>> network = PCDUNet(in_channels=1, num_classes=2, width=4).eval()
        >>> network(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 2, 32, 48])
    """

    def __init__(self, in_channels: int = 1, num_classes: int = 2, width: int = 64) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 2 or width % 2:
            raise ConfigError(f"width is {width!r}; give an even number above 0, for example 64")
        super().__init__()
        levels = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.stem = DoubleConv(in_channels, levels[0])
        self.encoder = nn.ModuleList(DoubleConv(low, high) for low, high in itertools.pairwise(levels))
        # A decoder block sees the upsampled path beside the skip of the same width, and hands on half of
        # that width.
        joined = [16 * width, 8 * width, 4 * width, 2 * width]
        handed_on = [4 * width, 2 * width, width, width]
        self.decoder = nn.ModuleList(
            DoubleConv(both, out, mid_channels=both // 2) for both, out in zip(joined, handed_on, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W) of an image (B, C, H, W) whose height and width are multiples of 16."""
        path = self.stem(image)
        skips = []
        for block in self.encoder:
            skips.append(path)
            path = block(self.pool(path))
        for block in self.decoder:
            path = block(torch.cat([skips.pop(), self.upsample(path)], dim=1))
        logits: Tensor = self.head(path)
        return logits
