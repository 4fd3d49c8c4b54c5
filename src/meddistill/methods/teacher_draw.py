"""How much each teacher of an ensemble counts, drawn anew again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from meddistill.errors import ConfigError
from meddistill.losses.checks import check_choice, check_positive

Draw = Literal["permute", "dirichlet", "uniform"]


@dataclass(frozen=True)
class TeacherDraw:
    """Weights of M teachers that add up to 1, with an expectation of 1 / M each.

    "permute" gives `weights` to the teachers in random order: those of the first M numbers, scaled to add up
    to 1, when there are fewer teachers than numbers; 0 for as many as there are teachers too many, another
    few in every draw. "dirichlet" draws from the symmetric Dirichlet distribution, "uniform" is no draw.

    Args:
        weights: for "permute"; numbers of 0 or more, the first above 0.
        draw: the kind.
        concentration: of "dirichlet"; 1 makes all weights equally likely, more brings them closer to 1 / M.

    Raises:
        ConfigError: an argument is out of range or unknown.

    Example:
        >>> draw = TeacherDraw((0.7, 0.2, 0.09, 0.01))
        >>> [round(weight, 2) for weight in draw(4, np.random.default_rng(0))]
        [0.09, 0.7, 0.2, 0.01]
        >>> sorted(draw(2, np.random.default_rng(0)))
        [0.222..., 0.777...]
        >>> TeacherDraw(draw="uniform")(2, np.random.default_rng(0))
        (0.5, 0.5)
    """

    weights: Sequence[float] = (0.7, 0.2, 0.09, 0.01)
    draw: Draw = "permute"
    concentration: float = 1.0

    def __post_init__(self) -> None:
        check_choice("draw", self.draw, ("permute", "dirichlet", "uniform"))
        check_positive("concentration", self.concentration)
        object.__setattr__(self, "weights", _checked(self.weights))

    def scaled(self, teachers: int) -> tuple[float, ...]:
        """`weights` for this many teachers, before they are shuffled.

        Example:
            >>> TeacherDraw((0.6, 0.2, 0.2)).scaled(2), TeacherDraw((0.6, 0.4)).scaled(3)
            ((0.749..., 0.25), (0.6, 0.4, 0.0))
        """
        used = (*self.weights[:teachers], *(0.0,) * (teachers - len(self.weights)))
        return tuple(weight / sum(used) for weight in used)

    def __call__(self, teachers: int, generator: np.random.Generator) -> tuple[float, ...]:
        """One draw for this many teachers."""
        if self.draw == "uniform":
            return (1 / teachers,) * teachers
        if self.draw == "dirichlet":
            return tuple(generator.dirichlet([self.concentration] * teachers).tolist())
        scaled = self.scaled(teachers)
        return tuple(scaled[place] for place in generator.permutation(teachers))


def _checked(weights: Sequence[float]) -> tuple[float, ...]:
    """The weights as they are, if they are numbers of 0 or more that begin above 0."""
    listed = list(weights) if isinstance(weights, Sequence) and not isinstance(weights, str) else []
    numbers = all(isinstance(w, int | float) and not isinstance(w, bool) for w in listed)
    if not listed or not numbers or not listed[0] > 0 or not all(0 <= w < float("inf") for w in listed):
        raise ConfigError(
            f"weights must be numbers of 0 or more, the first above 0, such as [0.7, 0.2, 0.09, 0.01]; "
            f"got {weights!r}"
        )
    return tuple(float(weight) for weight in listed)
