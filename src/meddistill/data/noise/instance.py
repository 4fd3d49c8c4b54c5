"""Noise that depends on the case: some are harder to tell than others, and look like a certain other class.

After Xia et al., "Part-dependent label noise: towards instance-dependent label noise" (NeurIPS 2020),
algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meddistill.data.noise.base import (
    ClassNoise,
    Floats,
    Labels,
    check_length,
    check_rate,
    digest,
    drawn_classes,
    uniform,
)
from meddistill.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class InstanceDependent(ClassNoise):
    """Each case has a flip rate of its own, and its features say which class it is taken for.

    The rate of case n is q_n, drawn from a normal distribution round `rate` with the deviation `spread`, cut
    off at equal distances on both sides so that it stays in 0..1 and its mean is `rate` (Xia et al. cut at 0
    and 1, which raises the mean of small rates). With x_n its features, standardised over the cases and
    divided by the root of their number, and W_y a matrix of standard normal numbers for its class y, the
    label becomes class c other than y with probability q_n softmax(x_n W_y)_c over the other classes, and
    stays with 1 - q_n.

    Args:
        rate: mean share of wrong labels, 0..1.
        spread: deviation of the rates, above 0.
        sharpness: factor of x_n W_y; above 1 a case is taken for one certain class more often.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(1000, 5))
        >>> noisy = InstanceDependent(rate=0.3).apply(np.arange(1000) % 4, seed=0, features=features)
        >>> bool(0.25 < (noisy != np.arange(1000) % 4).mean() < 0.35)
        True
    """

    name = "instance_dependent"
    needs_features = True
    among_others = True
    rate: float
    spread: float = 0.1
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_length("spread", self.spread)
        check_length("sharpness", self.sharpness)

    def rates(self, ids: Sequence[str], *, seed: int) -> Floats:
        """The flip rate q_n of each case, (N,)."""
        from scipy.stats import truncnorm

        reach = min(self.rate, 1 - self.rate) / self.spread
        if not reach:
            return np.full(len(ids), float(self.rate))
        numbers = uniform(seed, ids, f"{self.name} rate")
        rates: Floats = self.rate + self.spread * truncnorm.ppf(numbers, -reach, reach)
        return rates.clip(0, 1)

    def probabilities(
        self, labels: Labels, num_classes: int, *, seed: int, ids: Sequence[str], features: Floats
    ) -> Floats:
        """Probability of each class for each case, (N, K)."""
        taken = self.sharpness * _projected(features, labels, num_classes, digest(seed, self.name))
        own = np.arange(num_classes) == labels[:, None]
        taken = np.where(own, -np.inf, taken)
        others = np.exp(taken - taken.max(1, keepdims=True))
        rates = self.rates(ids, seed=seed)[:, None]
        return np.where(own, 1 - rates, rates * others / others.sum(1, keepdims=True))

    def _drawn(
        self, labels: Labels, num_classes: int, seed: int, ids: Sequence[str], features: Floats | None
    ) -> Labels:
        if features is None:
            raise ConfigError(
                "label noise: instance_dependent needs features (N, F) of the cases, for example a "
                "pretrained encoder's, or the pixels"
            )
        if self.rate and num_classes < 2:
            raise ConfigError("label noise: with one class no label can be wrong; set rate to 0")
        if not self.rate:
            return labels
        chances = self.probabilities(labels, num_classes, seed=seed, ids=ids, features=features)
        return drawn_classes(chances, uniform(seed, ids, self.name))


def _projected(features: Floats, labels: Labels, num_classes: int, seed: int) -> Floats:
    """x_n W_y for each case, (N, K)."""
    deviation = features.std(0)
    standard = (features - features.mean(0)) / np.where(deviation > 0, deviation, 1)
    standard /= np.sqrt(features.shape[1])
    generator = np.random.default_rng(seed)
    projected = np.empty((len(labels), num_classes))
    for value in range(num_classes):
        weights = generator.standard_normal((features.shape[1], num_classes))
        projected[labels == value] = standard[labels == value] @ weights
    return projected
