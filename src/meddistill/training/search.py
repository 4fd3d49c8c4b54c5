"""Which changes `--auto-tune` tries, in which order, and when it keeps one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from meddistill.config import Recipe
from meddistill.training.clock import Spread
from meddistill.training.switches import Chain, Value, chains, value_of
from meddistill.training.trial import (
    LEAST_ROUNDS,
    Baseline,
    Measure,
    Measured,
    Trial,
    TrialError,
    Tuning,
    plain,
)

WORTH = 0.97
"""Ratio of step times that a change must stay below to be kept."""

_SLICE = 8
"""A trial measures for this part of the time, and may take what is left when its first step is slow."""


def search(
    recipe: Recipe,
    measure: Measure,
    seconds: float,
    *,
    say: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Try one change after another on top of those kept before, and keep what is faster beyond doubt.

    A change is kept when its median ratio is below `WORTH` and below what the recipe shows against itself,
    and when it saves more of the training than its slow start takes.

    Args:
        recipe: a checked recipe.
        measure: tells the speed of settings.
        seconds: time for all trials; getting ready comes on top.
        say: is told of each trial.
        now: a clock, in seconds.
    """
    try:
        baseline = measure.baseline()
        deadline = now() + seconds
        alike = measure.compare({}, {}, seconds=seconds / _SLICE, limit=seconds)
    except TrialError as failure:
        say(f"nothing was tried: {failure}")
        return Tuning(seconds, note=str(failure))
    tried = _Search(recipe, measure, seconds, deadline, baseline, Spread.of(alike.ratios), say, now)
    for chain in in_order(chains(recipe), baseline.shares):
        tried.follow(chain)
    return tried.result()


def in_order(chains: Iterable[Chain], shares: Mapping[str, float]) -> list[Chain]:
    """Quick starters first, and among them those that act on the largest share of a step."""
    return sorted(chains, key=lambda chain: (chain.slow_start, -_share(chain, shares)))


def beats_noise(ratio: Spread, noise: Spread) -> bool:
    """Whether a median ratio lies further below 1 than the middle half of `noise` lies away from 1.

    Example:
        >>> noise = Spread(1.01, 0.96, 1.02)
        >>> beats_noise(Spread(0.95, 0.9, 1.0), noise), beats_noise(Spread(0.965, 0.9, 1.0), noise)
        (True, False)
    """
    return ratio.median < 1 - max(1 - noise.quarter, noise.three_quarters - 1)


def _share(chain: Chain, shares: Mapping[str, float]) -> float:
    return sum(shares.get(part, 0.0) for part in chain.parts)


@dataclass
class _Search:
    """The state between two trials."""

    recipe: Recipe
    measure: Measure
    seconds: float
    deadline: float
    baseline: Baseline
    noise: Spread
    say: Callable[[str], None]
    now: Callable[[], float]
    chosen: dict[str, Value] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    ratio: float = 1.0

    def follow(self, chain: Chain) -> None:
        """Try the values of a chain until one is not kept."""
        if chain.key in self.chosen:
            return
        for value in chain.values:
            trial = self._try(chain, value)
            self.trials.append(trial)
            self.say(str(trial))
            if trial.ratio is None or not trial.kept:
                return
            self.chosen[chain.key] = value
            self.ratio *= trial.ratio.median

    def _try(self, chain: Chain, value: Value) -> Trial:
        trial = Trial(chain.key, self.chosen.get(chain.key, value_of(self.recipe, chain.key)), value)
        # What was saved elsewhere made the share of these parts larger, at most by as much.
        reach = min(1.0, _share(chain, self.baseline.shares) / self.ratio)
        if chain.parts and reach <= 1 - WORTH:
            return replace(trial, note=f"not tried, it could save {100 * reach:.1f} % of a step at most")
        left = self.deadline - self.now()
        if left <= 0:
            return replace(trial, note="not tried, the time was used up")
        try:
            measured = self.measure.compare(
                self.chosen,
                {**self.chosen, chain.key: value},
                seconds=min(left, self.seconds / _SLICE),
                limit=left,
            )
        except TrialError as failure:
            return replace(trial, note=f"failed: {failure}")
        return self._judge(trial, measured, pays=not chain.slow_start or self._pays(measured))

    def _judge(self, trial: Trial, measured: Measured, *, pays: bool) -> Trial:
        ratio, rounds = Spread.of(measured.ratios), len(measured.ratios)
        if ratio.median >= WORTH:
            note = "not faster"
        elif not beats_noise(ratio, self.noise):
            note = f"no more than noise ({self.noise.quarter:.2f} to {self.noise.three_quarters:.2f})"
        elif rounds < LEAST_ROUNDS:
            note = f"only {rounds} rounds, too few to tell"
        elif not pays:
            note = f"its start of {measured.start_seconds:.0f} s costs more than this training would save"
        else:
            note = "kept"
        return replace(trial, ratio=ratio, rounds=rounds, note=note, kept=note == "kept")

    def _pays(self, measured: Measured) -> bool:
        """Whether the steps of the training save more than the first of them costs."""
        saved = measured.step_seconds * (1 - Spread.of(measured.ratios).median)
        return saved * self.baseline.steps > measured.start_seconds

    def result(self) -> Tuning:
        """What was found, said in a line as well."""
        words = ", ".join(f"{key} {plain(value)}" for key, value in self.chosen.items())
        self.say(f"chosen: {words}; {self.ratio:.2f} of the time" if words else "nothing was faster")
        before = {key: value_of(self.recipe, key) for key in self.chosen}
        return Tuning(self.seconds, before, self.chosen, self.noise, tuple(self.trials))
