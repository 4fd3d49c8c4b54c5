"""The paired permutation test: had the rows been swapped, how often would they differ as much?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from meddistill.errors import ConfigError
from meddistill.evaluation.chunks import chunks
from meddistill.evaluation.mean_interval import GroupSums

Floats = npt.NDArray[np.float64]

EXACT_GROUPS = 14
"""With more groups, random ones of the 2^G swaps are drawn."""


def sign_flip_p(
    differences: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    resamples: int = 9999,
    seed: int = 0,
) -> float:
    """Two-sided p-value of the mean difference of paired scores (Fisher, 1935).

    When the two rows are alike, each group's differences could as well have the other sign, all of a group
    together. The p-value is the share of choices with a mean at least as far from 0 as the one found. It
    equals `scipy.stats.permutation_test(permutation_type="samples")` on the groups' sums.

    Args:
        differences: (N,) of the pairs; NaN is left out.
        groups: (N,) group of each case; None takes every case as its own group.
        resamples: drawn choices where there are more than `EXACT_GROUPS` groups; the choice found counts as
            one more, so that p is never 0 (Phipson and Smyth, 2010).
        seed: of the drawing.

    Returns:
        p; 1 when all differences are 0, NaN without any.

    Raises:
        ConfigError: `resamples` is below 1.
        DataError: differences and groups differ in length.

    Example:
        >>> sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5])
        0.0625
        >>> sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5], groups=["a", "a", "b", "b", "b"])
        0.5
    """
    if resamples < 1:
        raise ConfigError(f"resamples is {resamples}; give 1 or more")
    sums = GroupSums.of(differences, groups).sums
    if not sums.size:
        return np.nan
    (row,) = sums
    exact = len(row) <= EXACT_GROUPS
    limit = abs(row.sum()) - 1e-12 * np.abs(row).sum()  # equal sums may differ by rounding
    flips = _every(len(row)) if exact else _drawn(len(row), resamples, seed)
    beyond = sum(int(np.sum(np.abs(row.sum() - 2 * (part @ row)) >= limit)) for part in flips)
    return beyond / 2 ** len(row) if exact else (beyond + 1) / (resamples + 1)


def _every(count: int) -> Iterator[Floats]:
    """All choices of groups whose sign is changed (2^G, G), 1 for those that are."""
    yield (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(float)


def _drawn(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Random choices (R, G), some at a time."""
    rng = np.random.default_rng(seed)
    for rows in chunks(resamples, count):
        bits = np.frombuffer(rng.bytes(rows * ((count + 7) // 8)), np.uint8).reshape(rows, -1)
        yield np.unpackbits(bits, axis=1, count=count).astype(float)
