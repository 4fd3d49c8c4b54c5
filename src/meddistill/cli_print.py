"""What the commands print of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meddistill.evaluation.cautions import summary_caution

if TYPE_CHECKING:
    from meddistill.evaluation import Comparison


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
