"""What a corruption is, and the one way to apply it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError, DataError

SEVERITIES = (1, 2, 3, 4, 5)
"""From hardly seen to hardly usable."""

Image = npt.NDArray[np.float32]
"""(C, *S) in 0..1."""

Changed = npt.NDArray[np.floating[Any]]
"""(C, *S), which may reach beyond 0..1."""

Change = Callable[[Image, int, np.random.Generator], Changed]
"""From an image, a severity and the source of everything random to another image of the same shape."""


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Args:
        name: how options and files call it.
        change: makes the image worse; values outside 0..1 are cut off afterwards.
        dims: numbers of spatial axes that it makes sense for.

    Example:
        >>> dim = Corruption("dim", lambda image, severity, rng: image * (1 - severity / 10))
        >>> dim(np.ones((1, 2, 2), np.float32), 5, seed=0).tolist()
        [[[0.5, 0.5], [0.5, 0.5]]]
    """

    name: str
    change: Change
    dims: tuple[int, ...] = (2, 3)

    def __call__(self, image: Image, severity: int, *, seed: int) -> Image:
        """The image (C, *S) at a severity; the same seed draws the same, whatever the severity.

        Raises:
            ConfigError: a severity that is not 1 to 5.
            DataError: an image of another number of axes, or values outside 0..1.
        """
        check_severity(severity)
        self.check_dims(image.ndim - 1)
        if not bool(((image >= 0) & (image <= 1)).all()):
            raise DataError(f"{self.name}: the image has values outside 0..1; normalise inside the network")
        changed = self.change(image, severity, np.random.default_rng(seed))
        return np.clip(changed, 0, 1).astype(np.float32, copy=False)

    def check_dims(self, dims: int) -> None:
        """Refuse images that this kind does not make sense for.

        Raises:
            DataError: it does not.
        """
        if dims not in self.dims:
            has, wants = (" or ".join(f"{n}D" for n in each) for each in ((dims,), self.dims))
            raise DataError(f"{self.name} corrupts {wants} images, and these are {has}; leave it out")


def check_severity(severity: int) -> None:
    """Refuse what is no severity.

    Raises:
        ConfigError: it is not one of `SEVERITIES`.
    """
    if severity not in SEVERITIES:
        raise ConfigError(f"--severity: {severity} is none; give numbers from 1 to 5")
