"""What uncertainty is worth, with intervals: which errors it finds, and how good the rest is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.resampling import resample
from meddistill.evaluation.selective import REFERRED, CaseRanking, PixelRanking

LEVEL = 0.95
NUMBERS = ("auroc", "aupr", "aurc", "excess_aurc", "error_rate")
"""Keys of the estimates in `summarise_selective` beside the referrals."""

Floats = npt.NDArray[np.float64]


def summarise_selective(
    ranking: CaseRanking | PixelRanking,
    *,
    groups: npt.ArrayLike,
    shares: tuple[float, ...] = REFERRED,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Error detection, risk-coverage curve and selective prediction, as plain values that JSON can hold.

    Args:
        ranking: cases, or the pixels of cases.
        groups: (N,) group of each case; the bootstrap (`resample`) draws groups, and ranks each sample anew.
        shares: of the answers that are referred.
        seed: of the bootstrap.
        resamples: bootstrap samples.

    Returns:
        `auroc` and `aupr` of the detection of errors (see `Found`), `aurc` and `excess_aurc` (less that of
        the best order) and `error_rate`, each with `mean` and its 95 % interval `low`, `high` (None with
        fewer than two groups); `refer`: for each share the `share` and the estimate of `score`, 1 - risk, of
        the rest; `curve`: `coverage` and `risk`.

    Raises:
        DataError: there are no cases.

    Example:
        >>> risk = np.array([0.1, 0.2, 0.9, 0.8])
        >>> ranking = CaseRanking(np.array([0.1, 0.2, 0.3, 0.4]), risk, risk > 0.3)
        >>> found = summarise_selective(ranking, groups=["a", "b", "c", "d"], shares=(0, 0.5), resamples=20)
        >>> found["auroc"]["mean"], [round(row["mean"], 2) for row in found["refer"]]
        (1.0, [0.5, 0.85])
    """
    drawn = resample(
        lambda samples: [_numbers(ranking, weights, shares) for weights in samples],
        groups=groups,
        seed=seed,
        resamples=resamples,
    )
    low, high = drawn.intervals(LEVEL)
    estimates = [
        {"mean": _plain(value), "low": _plain(a), "high": _plain(b)}
        for value, a, b in zip(drawn.observed, low, high, strict=True)
    ]
    named = dict(zip(NUMBERS, estimates, strict=False))
    refer = [
        {"share": share, **estimate}
        for share, estimate in zip(shares, estimates[len(NUMBERS) :], strict=True)
    ]
    everything = ranking.by_uncertainty(np.ones(len(np.asarray(groups))))
    return {**named, "refer": refer, "curve": everything.curve(), "level": LEVEL, "resamples": resamples}


def _numbers(ranking: CaseRanking | PixelRanking, weights: Floats, shares: tuple[float, ...]) -> Floats:
    """`NUMBERS`, then the score of the rest for each share."""
    order, found = ranking.by_uncertainty(weights), ranking.found(weights)
    area = order.aurc()
    return np.array(
        [
            *found,
            area,
            area - ranking.best(weights).aurc(),
            ranking.error_rate(weights),
            *(1 - order.risk_of_rest(share) for share in shares),
        ]
    )


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
