"""How the bar moves from epoch to epoch: functions of the epoch alone, so that a resumed run agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meddistill.losses.checks import check_count, check_fraction, check_positive


class Pacing(Protocol):
    """Anything that gives the confidence a pixel needs in an epoch (0-based)."""

    def threshold(self, epoch: int) -> float:
        """The threshold of `epoch`, 0..1; 0 lets every pixel in."""
        ...


@dataclass(frozen=True)
class LinearPacing:
    """A threshold that falls in equal steps from `start` to 0 (P-CD).

    mu(e) = max(0, mu0 (1 - k / (gamma E) floor((e - 1) / k))) for e >= 1, and mu(0) = mu0. When gamma E is
    a multiple of k, it is 0 from epoch gamma E + 1 on; otherwise from the next step after that.

    Args:
        start: mu0, in 0..1.
        epochs: E, length of the training.
        full_at: gamma, the fraction of the epochs after which every pixel takes part; above 1 for never.
        every: k, epochs between two steps.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> pacing = LinearPacing(start=0.8, epochs=150, full_at=0.8, every=5)
        >>> [round(pacing.threshold(epoch), 4) for epoch in (0, 5, 6, 116, 121)]
        [0.8, 0.8, 0.7667, 0.0333, 0.0]
    """

    start: float
    epochs: int
    full_at: float
    every: int

    def __post_init__(self) -> None:
        check_fraction("start", self.start)
        check_count("epochs", self.epochs)
        check_positive("full_at", self.full_at)
        check_count("every", self.every)

    def threshold(self, epoch: int) -> float:
        """mu(epoch)."""
        steps = max(0, (epoch - 1) // self.every)
        left = 1 - self.every * steps / (self.full_at * self.epochs)
        return self.start * left if left > 1e-9 else 0.0


@dataclass(frozen=True)
class RisingPacing:
    """The schedule of the first P-CD code: mu rises, and a pixel takes part when 1 - confidence <= mu.

    mu(e) = min(1, mu0 + step floor(e / k)); the confidence a pixel needs is 1 - mu(e).

    Args:
        start: mu0, in 0..1.
        step: what mu gains each time, above 0.
        every: k, epochs between two steps.

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> pacing = RisingPacing(start=0.39, step=0.183, every=5)
        >>> [round(pacing.admitted(epoch), 3) for epoch in (0, 4, 5, 20)]
        [0.39, 0.39, 0.573, 1.0]
    """

    start: float
    step: float
    every: int

    def __post_init__(self) -> None:
        check_fraction("start", self.start)
        check_positive("step", self.step)
        check_count("every", self.every)

    def admitted(self, epoch: int) -> float:
        """mu(epoch), the doubt that is let in."""
        return min(1.0, self.start + self.step * (epoch // self.every))

    def threshold(self, epoch: int) -> float:
        """1 - mu(epoch), the confidence that is asked for."""
        return 1.0 - self.admitted(epoch)
