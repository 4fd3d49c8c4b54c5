"""The time that the parts of a training step take."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import NamedTuple

import torch

PARTS = ("data", "transfer", "teacher", "student", "loss", "backward", "optimiser", "other")
"""Where the time of a step goes, in the order of the work; `other` is what is left of the whole."""


class Spread(NamedTuple):
    """Median and middle half (first to third quartile) of some numbers."""

    median: float
    quarter: float
    three_quarters: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of one value or more.

        Example:
            >>> Spread.of([4.0, 1.0, 2.0, 3.0, 5.0])
            Spread(median=3.0, quarter=2.0, three_quarters=4.0)
        """
        given = list(values)
        quarter, median, three_quarters = statistics.quantiles(
            given if len(given) > 1 else given * 2, n=4, method="inclusive"
        )
        return cls(median, quarter, three_quarters)


class NoClock:
    """Measures nothing and waits for nothing."""

    def part(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the seam of `StepClock`
        """Leave the work alone."""
        return contextlib.nullcontext()


class StepClock(NoClock):
    """Seconds of the parts of each step.

    A part ends when the device has done it, so that on an accelerator parts cannot overlap as in training.

    Args:
        device: where the steps are computed.

    Example:
        >>> clock = StepClock(torch.device("cpu"))
        >>> with clock.step(), clock.part("teacher"):
        ...     pass
        >>> sorted(clock.steps[0]) == sorted(PARTS)
        True
    """

    def __init__(self, device: torch.device) -> None:
        self._wait = waiting_for(device)
        self.steps: list[dict[str, float]] = []
        self._now = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside counts as part `name` of the step."""
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self._now[name] += time.perf_counter() - start

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """What happens inside is one step."""
        self._now = dict.fromkeys(PARTS, 0.0)
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        whole = time.perf_counter() - start
        self._now["other"] = whole - sum(self._now.values())
        self.steps.append(self._now)


def shares(steps: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The share of each part in the time of all steps together; they sum to 1.

    Example:
        >>> shares([{"data": 1.0, "other": 2.0}, {"data": 0.0, "other": 1.0}])
        {'data': 0.25, 'other': 0.75}
    """
    given = list(steps)
    totals = {part: sum(step[part] for step in given) for part in given[0]}
    whole = sum(totals.values())
    return {part: seconds / whole for part, seconds in totals.items()}


def waiting_for(device: torch.device) -> Callable[[], None]:
    """A function that returns when `device` has done all that it was given.

    Example:
        >>> waiting_for(torch.device("cpu"))()
    """
    if device.type == "cuda":
        return partial(torch.cuda.synchronize, device)
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
