"""SDU-Net, a U-Net of stacked dilated convolutions, and the plain U-Net that it changes.

Source: Wang et al., "U-Net using stacked dilated convolutions for medical image segmentation" (arXiv
2004.03466, 2020). In the place of the two convolutions of each level of the U-Net (Ronneberger et al., MICCAI
2015) there is a standard convolution and then dilated ones, each on the output of the one before, and the
outputs of all of them are joined.

The abstract states neither their channels nor their rates. Here the first convolution gives half of a
level's channels and each further one half as many as the one before it, but the last one no fewer, so that
they add up to those of the level; the rates are 3, 6, 9 and 12. Public re-implementations have these shares,
and with them a network of width 64 has 38 % of the weights of the U-Net, where the abstract says about 40 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError

_CONVOLUTIONS: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORMS: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLS: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def _layer(dims: int, in_channels: int, channels: int, dilation: int = 1) -> nn.Sequential:
    """A convolution of 3 pixels a side that keeps the size, batch normalisation, ReLU."""
    convolution = _CONVOLUTIONS[dims](
        in_channels, channels, kernel_size=3, padding=dilation, dilation=dilation, bias=False
    )
    return nn.Sequential(convolution, _NORMS[dims](channels), nn.ReLU(inplace=True))


class StackedDilation(nn.Module):
    """A standard convolution and then dilated ones, each on the output of the one before; all are joined.

    Args:
        in_channels: channels of the input.
        channels: channels of the output, a multiple of 2 to the power of the number of dilated convolutions.
        dilations: rate of each dilated convolution.
        dims: 2 or 3.

    Example:
        >>> block = StackedDilation(1, 16, dilations=(3, 6, 9, 12))
        >>> [layer[0].out_channels for layer in block.layers]
        [8, 4, 2, 1, 1]
        >>> block(torch.zeros(2, 1, 6, 6)).shape
        torch.Size([2, 16, 6, 6])
    """

    def __init__(self, in_channels: int, channels: int, *, dilations: Sequence[int], dims: int = 2) -> None:
        super().__init__()
        shares = [channels >> power for power in range(1, len(dilations) + 1)]
        sizes = [in_channels, *shares, shares[-1]]
        self.layers = nn.ModuleList(
            _layer(dims, low, high, dilation)
            for (low, high), dilation in zip(itertools.pairwise(sizes), (1, *dilations), strict=True)
        )

    def forward(self, path: Tensor) -> Tensor:
        """(B, channels, *S) of (B, in_channels, *S)."""
        outputs = []
        for layer in self.layers:
            path = layer(path)
            outputs.append(path)
        return torch.cat(outputs, dim=1)


class _UShape(nn.Module):
    """A U-Net with max pooling, transposed convolutions and one block for each level of either side.

    Args:
        in_channels: image channels.
        num_classes: K, background included.
        widths: channels of each level.
        dims: 2 or 3.
        make_block: from channels in and out to the block of a level.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        dims: int,
        make_block: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            itertools.starmap(make_block, itertools.pairwise([in_channels, *widths]))
        )
        steps = list(itertools.pairwise(reversed(widths)))
        self.up = nn.ModuleList(_TRANSPOSED[dims](low, high, kernel_size=2, stride=2) for low, high in steps)
        self.decoder = nn.ModuleList(make_block(2 * high, high) for _, high in steps)
        self.pool = _POOLS[dims](2)
        self.head = _CONVOLUTIONS[dims](widths[0], num_classes, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *S) of an image (B, C, *S) whose sides are multiples of 2 to the power levels - 1."""
        path, skips = self.encoder[0](image), []
        for block in self.encoder[1:]:
            skips.append(path)
            path = block(self.pool(path))
        for up, block in zip(self.up, self.decoder, strict=True):
            path = block(torch.cat([skips.pop(), up(path)], dim=1))
        logits: Tensor = self.head(path)
        return logits


class PlainUNet(_UShape):
    """The U-Net with two padded convolutions for each level, in 2D and 3D.

    Args:
        in_channels: image channels.
        num_classes: K, background included.
        dims: 2 or 3.
        width: channels of the first level; each further one has twice as many.
        levels: resolutions, 2 or more; the image is halved once less.

    Raises:
        ConfigError: `width` or `levels` is no whole number, or too small.

    Example:
        >>> network = PlainUNet(in_channels=1, num_classes=2, width=2, levels=3).eval()
        >>> network(torch.zeros(1, 1, 8, 12)).shape
        torch.Size([1, 2, 8, 12])
    """

    def __init__(
        self, in_channels: int = 1, num_classes: int = 2, dims: int = 2, *, width: int = 64, levels: int = 5
    ) -> None:
        def twice(low: int, high: int) -> nn.Module:
            return nn.Sequential(_layer(dims, low, high), _layer(dims, high, high))

        super().__init__(in_channels, num_classes, level_widths(width, levels), dims, twice)


class SDUNet(_UShape):
    """The U-Net whose levels are stacks of dilated convolutions, in 2D and 3D.

    Args:
        in_channels: image channels.
        num_classes: K, background included.
        dims: 2 or 3.
        width: channels of the first level, 64 in the paper; each further one has twice as many. A multiple of
            2 to the power of the number of dilations.
        levels: resolutions, 2 or more; the image is halved once less.
        dilations: rates of the dilated convolutions of every level.

    Raises:
        ConfigError: an argument is no whole number or too small, or `width` cannot be halved often enough.

    Example:
        >>> network = SDUNet(in_channels=1, num_classes=2, width=16, levels=3).eval()
        >>> network(torch.zeros(1, 1, 8, 12)).shape
        torch.Size([1, 2, 8, 12])
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        dims: int = 2,
        *,
        width: int = 64,
        levels: int = 5,
        dilations: Sequence[int] = (3, 6, 9, 12),
    ) -> None:
        if isinstance(dilations, int | str) or not dilations or not all(map(_is_whole, dilations)):
            raise ConfigError(
                f"dilations is {dilations!r}; give whole numbers above 0, for example [3, 6, 9, 12]"
            )
        widths = level_widths(width, levels)
        if width % 2 ** len(dilations):
            raise ConfigError(
                f"width is {width}; with {len(dilations)} dilations it is a multiple of {2 ** len(dilations)}"
            )

        def stack(low: int, high: int) -> nn.Module:
            return StackedDilation(low, high, dilations=dilations, dims=dims)

        super().__init__(in_channels, num_classes, widths, dims, stack)


def level_widths(width: int, levels: int) -> tuple[int, ...]:
    """Channels of each level: `width`, and twice as many at each further one.

    Raises:
        ConfigError: `width` is no whole number above 0, or `levels` none above 1.

    Example:
        >>> level_widths(16, 4)
        (16, 32, 64, 128)
    """
    if not _is_whole(width):
        raise ConfigError(f"width is {width!r}; give a whole number above 0, for example 64")
    if not _is_whole(levels) or levels < 2:
        raise ConfigError(f"levels is {levels!r}; give a whole number of 2 or more, for example 5")
    return tuple(width << level for level in range(levels))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
