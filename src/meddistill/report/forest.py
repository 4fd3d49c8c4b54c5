"""The forest plot of a comparison: the mean and confidence interval of each row, one metric a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meddistill.report.numbers import interval, metric, metric_label, score
from meddistill.report.svg import MUTED, SERIES, Picture, drawing


@dataclass(frozen=True)
class Estimate:
    """One line of a forest plot: the row, its mean, and the ends of its 95 % interval (NaN when unknown)."""

    row: str
    mean: float
    low: float
    high: float


def forest(
    name: str, estimates: Sequence[Estimate], baseline: str, unit: str = "", where: str = ""
) -> Picture | None:
    """Means and 95 % intervals of all rows for the metric `name`; a dashed line marks the baseline's mean.

    Args:
        name: the metric.
        estimates: one for each row, from top to bottom.
        baseline: the row that the others are compared with.
        unit: unit of distances.
        where: the set of cases, for the title.

    Returns:
        The drawing, or None when no row has a mean.
    """
    known = [estimate for estimate in estimates if estimate.mean == estimate.mean]
    if not known:
        return None
    with drawing(0.9 + 0.32 * len(known)) as canvas:
        axes = canvas.axes(
            xlabel=f"{metric_label(name, unit)}, {metric(name).explanation.rpartition('; ')[2]}"
        )
        for level, estimate in enumerate(known):
            colour = MUTED if estimate.row == baseline else SERIES[0]
            axes.plot([estimate.low, estimate.high], [level, level], color=colour, linewidth=2.2)
            axes.plot(estimate.mean, level, color=colour, marker="s" if estimate.row == baseline else "o")
            if estimate.row == baseline:
                axes.axvline(estimate.mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.locator_params(axis="x", nbins=6)
        axes.set_yticks(range(len(known)), [estimate.row for estimate in known])
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    title = ", ".join(part for part in (metric_label(name, unit), where) if part)
    words = "; ".join(_words(name, one) for one in known)
    return canvas.picture(title, f"{where}: {words}." if where else f"{words}.")


def _words(name: str, estimate: Estimate) -> str:
    ends = {"low": estimate.low, "high": estimate.high}
    return f"{estimate.row} {score(estimate.mean, name)} ({interval(ends, name)})"
