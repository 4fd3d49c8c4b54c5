"""The simulations of interval_coverage.py: each draws scores, asks the package, and says what is right."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from bench_page import machine
from coverage_task import Cases, Floats, gain_for, true_mean
from meddistill.evaluation import bootstrap_ci, mean_ci, paired_test
from meddistill.evaluation.mean_interval import GroupSums, draw_weights
from meddistill.evaluation.seeds import over_seeds, seed_half_width

Outcome = Mapping[str, bool]
"""What happened in one simulation, by the name of the column that counts it."""

Simulation = Callable[[np.random.Generator, int], Outcome]
"""From random numbers and the seed of the bootstrap."""

MISSED = 0.03
"""Share of cases that a network misses altogether, where it does."""

MARGIN = 0.01
"""One Dice point."""


@dataclass(frozen=True)
class Settings:
    """What is simulated; the defaults are those of the published page.

    Args:
        sizes: numbers of cases and of groups.
        few: numbers of groups, with two cases each, for the question of how few are too few.
        seeds: numbers of seeds.
        spread: differences between trainings, in logits.
        simulations: of each line.
        resamples: bootstrap samples of each interval.
        seed: of everything.
    """

    sizes: tuple[tuple[int, int], ...] = ((20, 10), (100, 40), (500, 200))
    few: tuple[int, ...] = (3, 5, 10, 15, 20, 30)
    seeds: tuple[int, ...] = (3,)
    spread: tuple[float, ...] = (0.0, 0.1)
    simulations: int = 1000
    resamples: int = 500
    seed: int = 0


@dataclass(frozen=True)
class Line:
    """A line of a table: what was simulated how often, and how often each outcome came."""

    table: str
    setting: Mapping[str, int | float | str]
    simulations: int
    counts: Mapping[str, int]


def measure(settings: Settings) -> dict[str, Any]:
    """Simulate every line of every table."""
    lines = []
    for number, (table, setting, simulate) in enumerate(_plan(settings)):
        lines.append(_count(table, setting, simulate, settings, number))
        print(f"{table}: {setting}", file=sys.stderr, flush=True)
    return {
        "hardware": machine("interval_coverage.py"),
        "settings": asdict(settings),
        "lines": [asdict(line) for line in lines],
    }


def _plan(settings: Settings) -> Iterator[tuple[str, dict[str, int | float | str], Simulation]]:
    draws = settings.resamples
    for groups in settings.few:
        for missed in (0.0, MISSED):
            setting: dict[str, int | float | str] = {"cases": 2 * groups, "groups": groups, "missed": missed}
            yield "few groups", setting, partial(one_run, 2 * groups, groups, missed, draws)
    for cases, groups in settings.sizes:
        size: dict[str, int | float | str] = {"cases": cases, "groups": groups}
        for missed in (0.0, MISSED):
            yield "mean", {**size, "missed": missed}, partial(one_run, cases, groups, missed, draws)
        for rows in ("alike", "same mean", "better"):
            yield "pairs", {**size, "rows": rows}, partial(pairs, cases, groups, rows, draws)
        for loss in (MARGIN, 0.0):
            yield "margin", {**size, "true loss": loss}, partial(margin, cases, groups, loss, draws)
        for seeds in settings.seeds:
            for spread in settings.spread:
                trained = {**size, "seeds": seeds, "spread": spread}
                yield "seeds", trained, partial(several, cases, groups, seeds, spread, draws)


def _count(
    table: str,
    setting: Mapping[str, int | float | str],
    simulate: Simulation,
    settings: Settings,
    number: int,
) -> Line:
    counts: Counter[str] = Counter()
    for trial in range(settings.simulations):
        outcome = simulate(np.random.default_rng([settings.seed, number, trial]), trial)
        counts.update({name: int(happened) for name, happened in outcome.items()})
    return Line(table, setting, settings.simulations, dict(counts))


def one_run(
    cases: int, groups: int, missed: float, draws: int, rng: np.random.Generator, seed: int
) -> Outcome:
    """Which 95 % intervals of the mean of one run hold the true mean."""
    drawn = Cases.draw(rng, cases, groups)
    scores = drawn.run(rng, drawn.method(rng), missed=missed)
    truth = (1 - missed) * true_mean()
    options: dict[str, Any] = {"groups": drawn.groups, "resamples": draws, "seed": seed}
    low, high = mean_ci(scores, bounds=(0.0, 1.0), **options)
    return {
        "reported": low <= truth <= high,
        "truth below": truth < low,
        "truth above": truth > high,
        "BCa": _holds(bootstrap_ci(scores, **options), truth),
    }


def pairs(cases: int, groups: int, rows: str, draws: int, rng: np.random.Generator, seed: int) -> Outcome:
    """Which tests reject at 5 %: two rows alike, of one mean though one misses cases, or one better."""
    drawn = Cases.draw(rng, cases, groups)
    missed = MISSED if rows == "same mean" else 0.0
    wanted = {"alike": true_mean(), "same mean": true_mean() / (1 - MISSED), "better": true_mean() + 0.02}
    first = drawn.run(rng, drawn.method(rng, gain=gain_for(wanted[rows])), missed=missed)
    second = drawn.run(rng, drawn.method(rng))
    found = paired_test(first, second, groups=drawn.groups, resamples=draws, seed=seed)
    return {
        "Wilcoxon": found.p_value < 0.05,
        "sign flip": found.p_sign_flip < 0.05,
        "interval": not found.low <= 0 <= found.high,
    }


def margin(cases: int, groups: int, loss: float, draws: int, rng: np.random.Generator, seed: int) -> Outcome:
    """Whether "not worse by more than the margin" is shown for a row that is worse by `loss`."""
    drawn = Cases.draw(rng, cases, groups)
    first = drawn.run(rng, drawn.method(rng, gain=gain_for(true_mean() - loss)))
    second = drawn.run(rng, drawn.method(rng))
    low, high = mean_ci(first - second, groups=drawn.groups, resamples=draws, seed=seed)
    return {"shown": low > -MARGIN, "worse": high < -MARGIN}


def several(
    cases: int, groups: int, seeds: int, spread: float, draws: int, rng: np.random.Generator, seed: int
) -> Outcome:
    """Intervals of a row and of the difference of two equally good ones, both trained with several seeds."""
    drawn = Cases.draw(rng, cases, groups)
    first, second = (drawn.seeds(rng, drawn.method(rng), seeds, spread) for _ in range(2))
    row = _intervals(first, drawn.groups, draws, seed)
    difference = _intervals(first - second, drawn.groups, draws, seed)
    truth = true_mean(spread=spread)
    by_group = GroupSums.of((first - second).mean(axis=0), drawn.groups)
    return {
        **{f"mean, {name}": _holds(ends, truth) for name, ends in row.items()},
        **{f"difference, {name}": _holds(ends, 0.0) for name, ends in difference.items()},
        "Wilcoxon": wilcoxon((by_group.sums / by_group.counts)[0]).pvalue < 0.05,
    }


def _intervals(runs: Floats, groups: Any, draws: int, seed: int) -> dict[str, tuple[float, float]]:
    data = GroupSums.of(runs, groups)
    low, high = data.interval(resamples=draws, seed=seed)
    half = seed_half_width(data.means, data.leave_one_out)
    return {
        "cases": (low, high),
        "cases and seeds": over_seeds(float(data.means.mean()), low, high, half),
        "two-level bootstrap": _two_levels(data, draws, seed),
    }


def _two_levels(data: GroupSums, draws: int, seed: int) -> tuple[float, float]:
    """Percentile interval when seeds and groups are both resampled."""
    rng = np.random.default_rng(seed)
    seeds, groups = data.sums.shape
    weights = draw_weights(rng, groups, draws)
    means = (data.sums @ weights.T) / (data.counts @ weights.T)
    drawn = means[rng.integers(0, seeds, (seeds, draws)), np.arange(draws)].mean(axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _holds(ends: tuple[float, float], truth: float) -> bool:
    return ends[0] <= truth <= ends[1]
