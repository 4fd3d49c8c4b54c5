"""What `--auto-tune` asks, hears and writes down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from meddistill.training.clock import Spread
from meddistill.training.switches import Settings, Value

LEAST_ROUNDS = 5
"""Rounds of a trial below which nothing is concluded in favour of a change."""


class TrialError(Exception):
    """A change could not be measured; the message says why."""


class Baseline(NamedTuple):
    """The recipe as it is: the share of each part in a step, and how many steps its training takes."""

    shares: Mapping[str, float]
    steps: int


class Measured(NamedTuple):
    """Two settings measured against each other.

    Args:
        ratios: time of a step with the change over that without, one for each round.
        step_seconds: time of a step without the change.
        start_seconds: how much longer than that the first step with the change took.
    """

    ratios: tuple[float, ...]
    step_seconds: float
    start_seconds: float


class Measure(Protocol):
    """What can tell the speed of settings, such as `trial_process.TrialProcess`."""

    def baseline(self) -> Baseline:
        """Get ready and look at the recipe as it is.

        Raises:
            TrialError: it could not be done.
        """
        ...

    def compare(self, without: Settings, change: Settings, *, seconds: float, limit: float) -> Measured:
        """Measure rounds for about `seconds`; `limit` is the most that this may take altogether.

        Raises:
            TrialError: it could not be done, or not within the limit.
        """
        ...


@dataclass(frozen=True)
class Trial:
    """One change and what became of it; `ratio` is None when nothing was measured.

    Example:
        >>> ratio = Spread(0.62, 0.6, 0.65)
        >>> print(Trial("training.precision", "auto", "bf16", kept=True, ratio=ratio, rounds=9, note="kept"))
        training.precision auto -> bf16: 0.62 of the time, kept
    """

    key: str
    before: Value
    after: Value
    kept: bool = False
    ratio: Spread | None = None
    rounds: int = 0
    note: str = ""

    def __str__(self) -> str:
        measured = "" if self.ratio is None else f"{self.ratio.median:.2f} of the time, "
        return f"{self.key} {plain(self.before)} -> {plain(self.after)}: {measured}{self.note}"


@dataclass(frozen=True)
class Tuning:
    """What was tried and chosen.

    Args:
        seconds: the time that was allowed.
        before: the recipe's values of the keys that were changed.
        chosen: their new values.
        noise: ratio of the recipe's step times to themselves; None when nothing was measured.
        trials: in the order of trying.
        note: why nothing was tried, if so.
    """

    seconds: float
    before: dict[str, Value] = field(default_factory=dict)
    chosen: dict[str, Value] = field(default_factory=dict)
    noise: Spread | None = None
    trials: tuple[Trial, ...] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `tuning.json`."""
        trials = [{**asdict(trial), "ratio": _numbers(trial.ratio)} for trial in self.trials]
        return {**asdict(self), "noise": _numbers(self.noise), "trials": trials}


def _numbers(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else spread._asdict()


def plain(value: Value) -> str:
    """A value as it is written in a recipe.

    Example:
        >>> plain(True), plain("bf16")
        ('true', 'bf16')
    """
    return value if isinstance(value, str) else json.dumps(value)
