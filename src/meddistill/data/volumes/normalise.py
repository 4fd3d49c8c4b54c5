"""Intensities of a whole volume to 0..1, before anything is cut from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, DataError, unknown_name

NormalisationKind = Literal["minmax", "percentiles", "window"]

PERCENTILES = (0.5, 99.5)
"""Of the voxels, taken for 0 and 1 by `percentiles`."""

_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Normalisation:
    """How the voxels of a volume become float32 in 0..1, each channel by itself.

    Args:
        kind: `minmax` (the smallest value becomes 0, the largest 1), `percentiles` (those of `PERCENTILES`,
            what lies beyond them is clipped), or `window` (fixed values, for CT in Hounsfield units).
        window: for `window` the values that become 0 and 1.

    Raises:
        ConfigError: an unknown kind, or a window that is missing, needless or empty.

    Example:
        >>> volume = np.array([[[[-1000.0, 0.0, 300.0]]]])
        >>> Normalisation("window", (-100.0, 300.0))(volume).tolist()
        [[[[0.0, 0.25, 1.0]]]]
    """

    kind: NormalisationKind = "percentiles"
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(NormalisationKind):
            raise ConfigError(unknown_name("normalise", str(self.kind), get_args(NormalisationKind)))
        if self.window is not None:
            object.__setattr__(self, "window", _checked(self.window))
        if (self.kind == "window") != (self.window is not None):
            raise ConfigError(
                "normalise: window and window: [low, high] go together, for example window: [-160, 240]; "
                f"now normalise is {self.kind} and window is {self.window}"
            )

    def __call__(self, volume: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """`volume` (C, Z, Y, X) as float32 in 0..1; a channel of one value becomes 0.

        Values less than the smallest normal float32 (1.2e-38) apart count as one.

        Raises:
            DataError: a voxel is NaN or infinite, or voxels are further apart than float32 holds (3.4e38).
        """
        values = volume.astype(np.float32)
        for channel in values:
            low, high = self._limits(channel)
            channel -= np.float32(low)
            channel *= np.float32(1 / (high - low) if high - low >= _TINY else 0)
        return np.clip(values, 0, 1, out=values)

    def _limits(self, channel: npt.NDArray[np.float32]) -> tuple[float, float]:
        smallest, largest = float(channel.min()), float(channel.max())
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            wrong = int(channel.size - np.isfinite(channel).sum())
            raise DataError(f"{wrong} of {channel.size} voxels are NaN or infinite; replace them")
        if largest - smallest > _HUGE:
            raise DataError(f"voxels reach from {smallest:g} to {largest:g}, too far for float32; clip them")
        if self.window is not None:
            return self.window
        if self.kind == "minmax":
            return smallest, largest
        low, high = np.percentile(channel, PERCENTILES)
        # Where nearly all voxels are equal the percentiles say nothing.
        return (float(low), float(high)) if high - low >= _TINY else (smallest, largest)


def _checked(window: tuple[float, float]) -> tuple[float, float]:
    if len(window) != 2 or not all(np.isfinite(window)) or window[1] - window[0] < _TINY:
        raise ConfigError(f"window must be two numbers, the lower first, not {list(window)}")
    return float(window[0]), float(window[1])
