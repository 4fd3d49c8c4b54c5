"""What a rule of exclusion is: it measures what teachers say of a case and tells whether the case stays."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from meddistill.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Answers:
    """What the teachers say about a batch.

    Args:
        probabilities: (B, K, *S), those of all teachers joined; class 0 is the background.
        members: (M, B, K, *S), those of each teacher; only needed by rules with `needs_members`.

    Example:
        >>> import torch
        >>> Answers(torch.full((1, 2, 4, 4), 0.5)).members is None
        True
    """

    probabilities: Tensor
    members: Tensor | None = None


class Rule(ABC):
    """Says which cases of a transferal set are not worth learning from.

    A rule measures each case by itself, batch by batch, and then looks at the measured numbers of all cases
    that are still there. Subclasses are frozen dataclasses; their fields are the options of a recipe.

    Attributes:
        name: what a recipe calls it.
        needs_members: whether `measure` looks at the single teachers.
    """

    name: ClassVar[str]
    needs_members: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the C measured numbers, as they head the columns of a table."""
        return (self.name,)

    @abstractmethod
    def measure(self, answers: Answers) -> Tensor:
        """C numbers for each case of a batch: (B, C) float32."""

    @abstractmethod
    def keeps(self, measured: Tensor) -> Tensor:
        """Which cases stay: (N,) bool, from the numbers (N, C) of the N cases that are still there."""

    @property
    @abstractmethod
    def removes(self) -> str:
        """What it removes, in a few words and with its options."""

    @abstractmethod
    def relax(self, measured: Tensor) -> str:
        """The best that was measured, which option to relax and to what, where it removed all (N, C)."""


class AtMost(Rule):
    """A rule that removes the cases that measure more than its only option, in bits.

    Attributes:
        option: name of the field with the limit.
        quantity: what is measured.
    """

    option: ClassVar[str]
    quantity: ClassVar[str]

    @property
    def limit(self) -> float:
        """The most that a case may measure."""
        return float(getattr(self, self.option))

    def keeps(self, measured: Tensor) -> Tensor:
        """Those that measure no more than the limit."""
        return measured[:, 0] <= self.limit

    @property
    def removes(self) -> str:
        """More than the limit."""
        return f"{self.quantity} above {self.limit:g} bits"

    def relax(self, measured: Tensor) -> str:
        """The least that was measured, and a limit that keeps it."""
        least = float(measured[:, 0].min())
        enough = not_below(least)
        return f"the least {self.quantity} is {least:.3g} bits; raise {self.option} to {enough:g} or more"


def check_maps(probabilities: Tensor, rule: str) -> Tensor:
    """`probabilities` in float32, if they are maps (B, K, *S) of at least two classes.

    Raises:
        ConfigError: there is one answer per image; names the rule.

    Example:
        >>> import torch
        >>> check_maps(torch.zeros(1, 2), "target_pixels")
        Traceback (most recent call last):
        ...
        meddistill.errors.ConfigError: rule target_pixels looks at pixels, and there is one answer for each \
image; leave it out of exclude
    """
    if probabilities.ndim < 3:
        raise ConfigError(
            f"rule {rule} looks at pixels, and there is one answer for each image; leave it out of exclude"
        )
    return check_classes(probabilities)


def check_classes(probabilities: Tensor) -> Tensor:
    """`probabilities` in float32, if they have a class axis with the background and at least one class.

    Raises:
        ValueError: they have not.
    """
    if probabilities.ndim < 2 or probabilities.shape[1] < 2:
        raise ValueError(f"probabilities {tuple(probabilities.shape)} are not (B, K, *S) with K of 2 or more")
    return probabilities.float()


def not_below(value: float) -> float:
    """The least number of three digits that is not below `value`, to suggest as an upper limit.

    Example:
        >>> not_below(2.7812), not_below(0.0)
        (2.79, 0.0)
    """
    return _rounded(value, math.ceil)


def not_above(value: float) -> float:
    """The largest number of three digits that is not above `value`, to suggest as a lower limit.

    Example:
        >>> not_above(2.7812), not_above(1234.0)
        (2.78, 1230.0)
    """
    return _rounded(value, math.floor)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    if not value or not math.isfinite(value):
        return value
    digits = 2 - math.floor(math.log10(abs(value)))
    scale = 10.0**digits
    return round(towards(value * scale) / scale, max(digits, 0))
