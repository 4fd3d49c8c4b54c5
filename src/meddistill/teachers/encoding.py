"""How precisely the numbers of a `Layout` are stored: half precision, or a byte scaled to each case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from meddistill.teachers.layout import Growth

EncodingName = Literal["float16", "uint8"]

_LARGEST = torch.finfo(torch.float16).max
_LEVELS = 256
_GRID = 2048
_WIDEST = 64.0
"""Bytes tell logits apart up to this size; beyond, a probability is 1 or 0 at every usual temperature."""
_TAIL = 0.45
"""Share of the 256 levels that is spread evenly over the logits; the rest follows the probability."""


class Encoding(Protocol):
    """Numbers to bytes and back. `bounds` (B, 2) scale each case; encodings that need none ignore them."""

    dtype: str
    calibrated: bool

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Codes of the shape of `values` (B, C, *S), and the bounds of each case."""
        ...

    def decode(self, codes: Tensor, bounds: Tensor | None) -> Tensor:
        """Numbers as float32."""
        ...


def choose_encoding(name: EncodingName, growth: Growth) -> Encoding:
    """The encoding that a recipe names, for numbers of this growth."""
    return Half() if name == "float16" else Byte(growth)


@dataclass(frozen=True)
class Half:
    """Half precision: 11 significant bits.

    The relative error of a log-odds is below 2^-11, which changes a probability by less than 0.0002.

    Example:
        >>> Half().encode(torch.tensor([[0.1, 1e6]]))[0]
        tensor([[9.9976e-02, 6.5504e+04]], dtype=torch.float16)
    """

    dtype = "float16"
    calibrated = False

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values of the largest finite size where they are larger."""
        return values.clamp(-_LARGEST, _LARGEST).half(), None

    def decode(self, codes: Tensor, bounds: Tensor | None) -> Tensor:  # noqa: ARG002 - part of the protocol
        """As float32."""
        return codes.float()


@dataclass(frozen=True)
class Byte:
    """One byte between the smallest and the largest value of the case, finer where probability changes.

    A value v becomes the nearest of 256 levels of (1 - w) G(v) + w L(v): G is the probability that goes with
    it (the sigmoid of log-odds, the exponential of relative logits) and L the value itself, both scaled to
    0..1 over the case. Evenly spaced logits alone would be coarse where probability is steep, evenly spaced
    probabilities would make all sure pixels equal, which shows at a higher temperature. With two classes a
    probability at temperature 1 is off by at most (1/2) / 255 / (1 - w) < 1/255; logits by at most
    (range / 255) / (2 w).

    Args:
        growth: which probability goes with the numbers.

    Example:
        >>> values = torch.linspace(-12, 12, 9)[None]
        >>> codes, bounds = Byte("sigmoid").encode(values)
        >>> codes
        tensor([[  0,  14,  29,  50, 128, 205, 226, 241, 255]], dtype=torch.uint8)
        >>> (Byte("sigmoid").decode(codes, bounds).sigmoid() - values.sigmoid()).abs().max() < 1 / 255
        tensor(True)
    """

    growth: Growth
    dtype = "uint8"
    calibrated = True

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Levels 0..255, and the least and the largest value of each case."""
        values = values.clamp(-_WIDEST, _WIDEST)
        low, high = _bounds(values)
        level = self._level(values, low, high) * (_LEVELS - 1)
        bounds = torch.stack([low.flatten(), high.flatten()], dim=1)
        return level.round().to(torch.uint8), bounds

    def decode(self, codes: Tensor, bounds: Tensor | None) -> Tensor:
        """The value of each level, found by inverting the curve of the case on a fine grid."""
        assert bounds is not None
        table = self._table(bounds)
        return table.gather(1, codes.flatten(1).long()).view(codes.shape)

    def _level(self, values: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The curve at `values`: 0 at `low`, 1 at `high`."""
        grow = _GROWTH[self.growth]
        bottom, top = grow(low), grow(high)
        steep = (grow(values) - bottom) / (top - bottom).clamp(min=1e-12)
        even = (values - low) / (high - low).clamp(min=1e-12)
        return (1 - _TAIL) * steep + _TAIL * even

    def _table(self, bounds: Tensor) -> Tensor:
        """The value of each of the 256 levels, (B, 256)."""
        low, high = bounds[:, :1], bounds[:, 1:]
        grid = low + (high - low) * torch.linspace(0, 1, _GRID)
        levels = self._level(grid, low, high).contiguous()
        wanted = torch.linspace(0, 1, _LEVELS).expand(len(bounds), -1).contiguous()
        right = torch.searchsorted(levels, wanted).clamp(1, _GRID - 1)
        before, after = levels.gather(1, right - 1), levels.gather(1, right)
        share = ((wanted - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
        table: Tensor = torch.lerp(grid.gather(1, right - 1), grid.gather(1, right), share)
        return table


_GROWTH: dict[Growth, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exponential": torch.exp}


def _bounds(values: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest value of each case, (B, 1, ...) each."""
    axes = (-1, *(1,) * (values.ndim - 1))
    low, high = values.flatten(1).aminmax(dim=1)
    return low.view(axes), high.view(axes)
