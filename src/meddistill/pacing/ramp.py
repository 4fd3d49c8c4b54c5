"""Weights that rise over the first epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from meddistill.errors import ConfigError


@dataclass(frozen=True)
class SigmoidRamp:
    """A factor exp(-5 (1 - t)^2) with t = epoch / epochs, 1 from then on (Laine and Aila 2017).

    Args:
        epochs: length of the rise; 0 for 1 at once.

    Raises:
        ConfigError: `epochs` is no whole number of 0 or more.

    Example:
        >>> ramp = SigmoidRamp(10)
        >>> [round(ramp(epoch), 4) for epoch in (0, 5, 10, 11)]
        [0.0067, 0.2865, 1.0, 1.0]
    """

    epochs: int

    def __post_init__(self) -> None:
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 0:
            raise ConfigError(f"ramp_epochs must be a whole number of 0 or more, got {self.epochs!r}")

    def __call__(self, epoch: int) -> float:
        """The factor in `epoch` (0-based)."""
        left = 1 - epoch / self.epochs if epoch < self.epochs else 0.0
        return math.exp(-5 * left**2)
