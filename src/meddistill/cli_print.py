"""What the commands print of scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from meddistill.evaluation.cautions import summary_caution

if TYPE_CHECKING:
    from meddistill.evaluation import Comparison
    from meddistill.evaluation.corrupted_means import Robustness


def tell(command: str) -> Callable[[str], None]:
    """How a long command says on stderr how far it is."""
    return lambda words: print(f"{command}: {words}", file=sys.stderr, flush=True)


def print_summary(summary: Mapping[str, Any], split: str) -> None:
    """Means with intervals and counts of a split, and those of the student's other branches.

    Example:
        >>> dice = {"mean": 0.5, "low": None, "high": None}
        >>> print_summary({"metrics": {"dice": dice}, "counts": {"cases": 3}}, "test")
        test dice                 0.5000
        test counts: cases 3
    """
    for name, value in summary["metrics"].items():
        if value["mean"] is not None:
            interval = (
                f"  95 % CI {value['low']:.4f} to {value['high']:.4f}" if value["low"] is not None else ""
            )
            print(f"{split} {name:<20} {value['mean']:.4f}{interval}")
    print(f"{split} counts: " + ", ".join(f"{name} {count}" for name, count in summary["counts"].items()))
    if caution := summary_caution(summary):
        print(f"{split} {caution}")
    for name, other in summary.get("branches", {}).items():
        print_summary(other, f"{split} {name} branch")


def print_comparisons(comparisons: Mapping[str, Comparison]) -> None:
    """The tables of a study; where there are several, each below the name of its test set."""
    for name, comparison in comparisons.items():
        if len(comparisons) > 1:
            print(f"## {name}\n")
        print(comparison.to_markdown())


_CURVES = ("dice", "iou", "accuracy", "f1_macro", "auroc")


def print_curves(points: Iterable[Mapping[str, Any]]) -> None:
    """The main scores of each run under each disturbance, a line for each strength.

    Example:
        >>> point = {"run": "kd-s0", "disturbance": "pgd", "strength": 2.0}
        >>> print_curves([point | {"metric": "dice", "mean": 0.5}, point | {"metric": "ece", "mean": 0.1}])
        kd-s0 pgd 2: dice 0.5000
    """
    for key, group in groupby(
        points, key=lambda point: [point[n] for n in ("run", "disturbance", "strength")]
    ):
        means = {point["metric"]: point["mean"] for point in group}
        shown = [f"{name} {means[name]:.4f}" for name in _CURVES if means.get(name) is not None]
        print(f"{key[0]} {key[1]} {key[2]:g}: {', '.join(shown)}")


def print_corruptions(found: Robustness) -> None:
    """The mean of each row over all corruptions, a line for each.

    Example:
        >>> from meddistill.evaluation.corrupted_means import CorruptedMean, Robustness
        >>> mean = CorruptedMean("kd", "all", None, 0.6, 0.5, 0.7)
        >>> print_corruptions(Robustness("dice", "kd", ("kd",), (), (), (mean,), {"kd": 0.75}, {"kd": 1.0}))
        kd corrupted: dice 0.6000  95 % CI 0.5000 to 0.7000, 0.750 of clean, corruption error 1.000
    """
    for row in found.rows:
        mean = found.of(row)
        ends = f"  95 % CI {mean.low:.4f} to {mean.high:.4f}" if mean.low == mean.low else ""
        shares = f"{found.relative[row]:.3f} of clean, corruption error {found.corruption_error[row]:.3f}"
        print(f"{row} corrupted: {found.metric} {mean.mean:.4f}{ends}, {shares}")
