"""Temperature scaling of a teacher or a student on held-out data.

Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), section 4.2: one temperature T
divides all logits. The mean negative log-likelihood is convex in 1/T, so its slope changes sign once and
bracketing that sign change cannot diverge. The expected calibration error is neither convex nor smooth and is
searched on grids. Each pass over the data scores many temperatures and keeps a few sums, so memory grows
neither with pixels nor with cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from meddistill.calibration.pixels import Batches, labelled_pixels
from meddistill.errors import ConfigError, DataError, RunError, unknown_name
from meddistill.evaluation.reliability import ReliabilityBins

Criterion = Literal["nll", "ece"]

CRITERIA: tuple[Criterion, ...] = ("nll", "ece")
TEMPERATURE_RANGE = (0.01, 1000.0)
"""Where a temperature is looked for; a network that is always right or only guesses ends at one of these."""
_PASSES = 3
_POINTS = {"nll": 17, "ece": 31}


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature, and what it changes on the data it was fitted on.

    Args:
        temperature: what to divide the logits by; 1 where no other was better.
        criterion: what it minimises, `nll` or `ece`.
        nll_before: mean negative log-likelihood per labelled pixel at temperature 1, in nats.
        nll_after: the same at `temperature`.
        ece_before: expected calibration error (10 bins) at temperature 1.
        ece_after: the same at `temperature`.
        bins_before: reliability bins at temperature 1.
        bins_after: reliability bins at `temperature`.
    """

    temperature: float
    criterion: Criterion
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    bins_before: ReliabilityBins
    bins_after: ReliabilityBins

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; bins as `ReliabilityBins.to_dict` gives them."""
        return {
            **vars(self),
            "bins_before": self.bins_before.to_dict(),
            "bins_after": self.bins_after.to_dict(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_json` described.

        Raises:
            RunError: `value` is something else.
        """
        try:
            bins = {key: ReliabilityBins.from_dict(value[key]) for key in ("bins_before", "bins_after")}
            return cls(**{**value, **bins})
        except (KeyError, TypeError, DataError) as error:
            raise RunError(f"this does not describe a calibration: {error}") from error


def fit_temperature(batches: Batches, *, criterion: Criterion = "nll") -> Calibration:
    """Fit the temperature of a network on held-out data, in four passes.

    Args:
        batches: called once for each pass; returns (logits (B, K, *S), labels (B, *S)) batches. Pixels of
            `IGNORE_INDEX` do not count. Labels (B, K) with 0 and 1 do not exclude each other: each counts as
            a pixel with two classes, whose logits are 0 and its own.
        criterion: `nll` (negative log-likelihood, a proper score) or `ece` (expected calibration error of the
            whole set, 10 bins). The result is never worse by it than temperature 1.

    Raises:
        ConfigError: an unknown criterion.
        DataError: logits and labels do not fit each other, no labelled pixel, logits that are not finite, or
            passes that differ.

    Example:
        >>> logits = torch.tensor([[6.0, 0.0]]).repeat(4, 1)
        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> calibration = fit_temperature(lambda: [(logits, labels)])
        >>> round(calibration.temperature, 3), round(6 / math.log(3), 3)
        (5.461, 5.461)
    """
    if criterion not in CRITERIA:
        raise ConfigError(unknown_name("calibration criterion", str(criterion), CRITERIA))
    search = _lowest_nll if criterion == "nll" else _lowest_ece
    temperature = search(batches)
    before, after = _score(batches, [1.0, temperature])
    better = after.nll < before.nll if criterion == "nll" else after.bins.ece() < before.bins.ece()
    if not better:
        temperature, after = 1.0, before
    return Calibration(
        temperature=temperature,
        criterion=criterion,
        nll_before=before.nll,
        nll_after=after.nll,
        ece_before=before.bins.ece(),
        ece_after=after.bins.ece(),
        bins_before=before.bins,
        bins_after=after.bins,
    )


@dataclass
class _Score:
    """What one temperature makes of the data: sums over the labelled pixels."""

    bins: ReliabilityBins
    nll_sum: float = 0.0

    @property
    def nll(self) -> float:
        return self.nll_sum / self.bins.total


def _lowest_nll(batches: Batches) -> float:
    """Bracket the sign change of the slope ever closer, then interpolate."""
    low, high = TEMPERATURE_RANGE
    left = right = 0.0
    for _ in range(_PASSES):
        grid = _log_grid(low, high, _POINTS["nll"])
        # Along the grid 1/T falls, and so does the slope: from positive to negative.
        slopes = _slopes(batches, grid)
        above = sum(slope > 0 for slope in slopes)
        if above in (0, len(grid)):
            return grid[min(above, len(grid) - 1)]
        low, high = grid[above - 1], grid[above]
        left, right = slopes[above - 1], slopes[above]
    return math.exp(math.log(low) + math.log(high / low) * left / (left - right))


def _lowest_ece(batches: Batches) -> float:
    """Search a coarse grid, then ever finer ones round the best; of equals, the one nearest to 1."""
    low, high = TEMPERATURE_RANGE
    best = (math.inf, 0.0, 1.0)
    for _ in range(_PASSES):
        grid = _log_grid(low, high, _POINTS["ece"])
        scores = _score(batches, grid)
        ranked = [(s.bins.ece(), abs(math.log(t)), t) for s, t in zip(scores, grid, strict=True)]
        best = min(best, *ranked)
        step = grid[1] / grid[0]
        low, high = max(best[2] / step, TEMPERATURE_RANGE[0]), min(best[2] * step, TEMPERATURE_RANGE[1])
    return best[2]


def _slopes(batches: Batches, temperatures: list[float]) -> list[float]:
    """Sum over the pixels of d NLL / d(1/T), the expected logit less the true one, at each temperature."""
    sums = [0.0] * len(temperatures)
    for logits, true, _ in _pixels(batches):
        for position, temperature in enumerate(temperatures):
            odds = (logits / temperature).exp()
            expected = (odds * logits).sum(dim=0) / odds.sum(dim=0)
            sums[position] += float((expected - true).sum(dtype=torch.float64))
    return sums


def _score(batches: Batches, temperatures: list[float]) -> list[_Score]:
    """Negative log-likelihood and reliability bins at each temperature, in one pass."""
    scores = [_Score(ReliabilityBins()) for _ in temperatures]
    for logits, true, correct in _pixels(batches):
        for score, temperature in zip(scores, temperatures, strict=True):
            total = (logits / temperature).exp().sum(dim=0)
            score.nll_sum += float((total.log() - true / temperature).sum(dtype=torch.float64))
            score.bins.update_confidence(1 / total, correct)
    return scores


def _pixels(batches: Batches) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One pass over the labelled pixels.

    Yields for each batch: logits (K, N) less the pixel's largest, the logit (N,) of the true class likewise,
    and whether the largest is that of the true class (N,).
    """
    for logits, labels in labelled_pixels(batches):
        shifted = logits - logits.amax(dim=0)
        yield shifted, shifted.gather(0, labels[None])[0], logits.argmax(dim=0) == labels


def _log_grid(low: float, high: float, points: int) -> list[float]:
    ratio = math.log(high / low) / (points - 1)
    return [low * math.exp(ratio * i) for i in range(points)]
