"""Made-up scores of which the truth is known: skewed, of patients with one case or several, of runs with
seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

LEVEL = 2.0
"""Logit of the Dice of the middle case: 0.88."""

BY_GROUP, BY_CASE, BY_RUN = 0.7, 0.7, 0.4
"""Standard deviations of that logit: between patients, between cases of one, and of one network on one
case."""

BY_RUN_AND_GROUP = 0.3
"""And of one method on one patient."""


@dataclass(frozen=True)
class Cases:
    """A test set: which patient each case belongs to (N,), and how hard it is (N,)."""

    groups: Integers
    logits: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, cases: int, groups: int) -> Cases:
        """Every patient has one case; how many more is uneven."""
        shares = rng.gamma(3.0, size=groups)
        sizes = 1 + rng.multinomial(cases - groups, shares / shares.sum())
        member = np.repeat(np.arange(groups), sizes)
        hard = BY_GROUP * rng.normal(size=groups)[member] + BY_CASE * rng.normal(size=cases)
        return cls(member, LEVEL + hard)

    def method(self, rng: np.random.Generator, *, gain: float = 0.0) -> Floats:
        """Logits (N,) of a method: what it finds harder than another, patient by patient, and its `gain`."""
        count = int(self.groups.max()) + 1
        return self.logits + gain + BY_RUN_AND_GROUP * rng.normal(size=count)[self.groups]

    def run(self, rng: np.random.Generator, method: Floats, *, missed: float = 0.0) -> Floats:
        """Dice (N,) of one training of a method; a share of the cases is missed and has 0."""
        dice: Floats = expit(method + BY_RUN * rng.normal(size=len(method)))
        return np.where(rng.random(len(dice)) < missed, 0.0, dice)

    def seeds(self, rng: np.random.Generator, method: Floats, count: int, spread: float) -> Floats:
        """Dice (S, N) of trainings that are better or worse by `spread` (in logits) on all cases."""
        return np.stack([self.run(rng, method + spread * rng.normal()) for _ in range(count)])


@cache
def true_mean(*, gain: float = 0.0, spread: float = 0.0) -> float:
    """Mean Dice over all patients, cases, methods and trainings.

    Example:
        >>> round(true_mean(), 2)
        0.84
    """
    deviation = np.sqrt(BY_GROUP**2 + BY_CASE**2 + BY_RUN_AND_GROUP**2 + BY_RUN**2 + spread**2)
    return float(quad(lambda z: expit(LEVEL + gain + deviation * z) * norm.pdf(z), -9, 9)[0])


@cache
def gain_for(mean: float) -> float:
    """The gain, in logits, with which the mean Dice is `mean`.

    Example:
        >>> abs(gain_for(true_mean())) < 1e-6
        True
    """
    return float(brentq(lambda gain: true_mean(gain=gain) - mean, -4.0, 4.0, xtol=1e-9))
