"""From a score table to the numbers of a split: means with confidence intervals, counts, calibration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from meddistill.evaluation.mean_interval import mean_ci
from meddistill.evaluation.metrics import METRICS, OPTIONAL_METRICS, case_values, nanmean
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.evaluation.table import STATES, ScoreTable

LEVEL = 0.95

POLICY = (
    "Overlap and distances leave out structures empty in label and prediction; missed and invented ones have "
    "overlap 0 and the image diagonal as distance. dice_both_empty_1 counts both empty as 1; hd95_detected "
    "looks only at structures both labelled and predicted. Cases count once, as the mean over their classes."
)


def summarise(
    table: ScoreTable, bins: ReliabilityBins | None = None, *, seed: int = 0, resamples: int = 2000
) -> dict[str, Any]:
    """The summary of one split, as plain values that JSON can hold (undefined numbers are None).

    Args:
        table: per-case scores.
        bins: reliability bins over the pixels of the split, as `score_cases` returns them.
        seed: seed of the bootstrap, which resamples groups, not cases.
        resamples: number of bootstrap samples.

    Returns:
        `metrics`: for every name in `METRICS` (`OPTIONAL_METRICS` where there are any) the `mean` over cases,
        its 95 % confidence interval `low` and `high` (None with fewer than two groups) and `n`, the cases in
        which it is defined; `counts`:
        cases, groups, and how many structures are in each of `STATES`; `classes`: the same two for each
        class; `dataset`: ECE and NLL over all pixels of the split at once; `reliability`: the bins;
        `unit` of distances, `policy`, `level`, `resamples` and `seed`.

    Example:
        >>> from meddistill.evaluation.table import COLUMNS
        >>> row = dict.fromkeys(COLUMNS, 0) | {"case": "a", "class": "lesion", "state": "ok", "dice": 0.5}
        >>> rows = [row, row | {"case": "b", "state": "both_empty", "dice": float("nan")}]
        >>> summary = summarise(ScoreTable.from_rows(rows))
        >>> summary["metrics"]["dice"]
        {'mean': 0.5, 'low': None, 'high': None, 'n': 1}
        >>> summary["metrics"]["dice_both_empty_1"]["mean"], summary["counts"]["both_empty"]
        (0.75, 1)
    """
    names = list(dict.fromkeys(table["class"].tolist()))
    by_class = {name: table.filter(table["class"] == name) for name in names}
    units = sorted(set(table["unit"].tolist()))
    return {
        "metrics": _metrics(table, seed, resamples),
        "counts": _counts(table),
        "classes": {
            name: {"metrics": _metrics(part, seed, resamples), "counts": _counts(part)}
            for name, part in by_class.items()
        },
        "dataset": {"ece": _plain(bins.ece()) if bins else None, "nll": _plain(_dataset_nll(table))},
        "reliability": bins.to_dict() if bins else None,
        "unit": units[0] if len(units) == 1 else "mixed",
        "policy": POLICY,
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
    }


def _metrics(table: ScoreTable, seed: int, resamples: int) -> dict[str, dict[str, float | None]]:
    summary = {}
    for name, score in METRICS.items():
        _, groups, values = case_values(table, name)
        if name in OPTIONAL_METRICS and np.isnan(values).all():
            continue
        low, high = mean_ci(
            values, groups=groups, level=LEVEL, resamples=resamples, seed=seed, bounds=score.bounds
        )
        summary[name] = {
            "mean": _plain(float(nanmean(values))),
            "low": _plain(low),
            "high": _plain(high),
            "n": int(np.sum(~np.isnan(values))),
        }
    return summary


def _counts(table: ScoreTable) -> dict[str, int]:
    states = {state: int(np.sum(table["state"] == state)) for state in STATES}
    return {"cases": len(set(table["case"])), "groups": len(set(table["group"])), **states}


def _dataset_nll(table: ScoreTable) -> float:
    """Mean over all labelled pixels: the cases' means weighted by their pixels."""
    first = table.filter((table["class"] == table["class"][:1]) & (table["pixels"] > 0))
    return float(np.average(first["nll"], weights=first["pixels"])) if len(first) else math.nan


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
