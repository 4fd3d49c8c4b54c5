"""No class of a transferal set may have many times the cases of another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.exclusion.base import Answers, Rule
from meddistill.exclusion.dominant import as_columns


@dataclass(frozen=True)
class ClassBalance(Rule):
    """Removes the least confident cases of classes with more than `max_ratio` times those of the rarest.

    A case belongs to the foreground class with the largest area, or to the background when its mask is empty,
    see `dominant_class`. Only classes that occur count. Of cases with one confidence the earlier ones stay.

    Args:
        max_ratio: of the frequency of each class to that of the rarest, 1 or more.

    Raises:
        ConfigError: `max_ratio` is below 1.

    Example:
        >>> measured = torch.tensor([[1.0, 0.7], [1.0, 0.9], [1.0, 0.8], [2.0, 0.6]])  # class, confidence
        >>> ClassBalance(max_ratio=2).keeps(measured)
        tensor([False,  True,  True,  True])
    """

    name: ClassVar[str] = "class_balance"
    max_ratio: float = 3.0

    def __post_init__(self) -> None:
        number = isinstance(self.max_ratio, int | float) and not isinstance(self.max_ratio, bool)
        if not number or not 1 <= self.max_ratio < math.inf:
            raise ConfigError(f"max_ratio must be a number of 1 or more, got {self.max_ratio!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Dominant class and confidence in it."""
        return ("class_balance_class", "class_balance_confidence")

    def measure(self, answers: Answers) -> Tensor:
        """Dominant class and confidence in it (B, 2)."""
        return as_columns(answers.probabilities)

    def keeps(self, measured: Tensor) -> Tensor:
        """The most confident cases of each class."""
        classes, confidence = measured[:, 0].long(), measured[:, 1]
        kept = torch.zeros(len(measured), dtype=torch.bool)
        counts = classes.bincount()
        limit = int(self.max_ratio * int(counts[counts > 0].min())) if len(counts) else 0
        for k in set(classes.tolist()):
            own = (classes == k).nonzero().flatten()
            order = confidence[own].argsort(descending=True, stable=True)
            kept[own[order[:limit]]] = True
        return kept

    @property
    def removes(self) -> str:
        """All above max_ratio times the cases of the rarest class."""
        return f"more than {self.max_ratio:g} times the cases of the rarest class, the least confident first"

    def relax(self, measured: Tensor) -> str:  # noqa: ARG002 - the numbers do not help here
        """Which option to relax; by itself this rule keeps some case of every class."""
        return f"raise max_ratio above {self.max_ratio:g}"
