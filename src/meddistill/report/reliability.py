"""The reliability diagram: how often a model is right when it is so and so sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddistill.report.numbers import number
from meddistill.report.reading import to_number
from meddistill.report.svg import INK, MUTED, NARROW, SERIES, Picture, drawing


def reliability(bins: Mapping[str, Any], who: str, ece: Any = None, noun: str = "pixels") -> Picture | None:
    """Accuracy against confidence by bin, with the share of pixels (or answers) in each bin beneath.

    Args:
        bins: `count`, `accuracy` and `confidence`, one value a bin; empty bins are left out.
        who: whose probabilities these are.
        ece: their expected calibration error, if known.
        noun: what was counted.

    Returns:
        The drawing, or None when no bin holds a pixel.
    """
    rows = _filled_bins(bins)
    if not rows:
        return None
    edges = len(bins["accuracy"])
    with drawing(3.5, NARROW) as canvas:
        upper, lower = canvas.figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        _draw_gaps(upper, rows, 1 / edges)
        total = sum(count for count, _, _ in rows)
        centres = [_centre(confidence, edges) for _, _, confidence in rows]
        lower.bar(centres, [c / total for c, _, _ in rows], width=0.9 / edges, color=MUTED)
        lower.set(xlabel="confidence", ylabel=f"share of\n{noun}", xlim=(0, 1), ylim=(0, None))
    over = sum(count * (confidence - accuracy) for count, accuracy, confidence in rows) / total
    leaning = "over-confident" if over > 0 else "under-confident"
    known = f"ECE over all {noun} {number(ece, 4)}; " if to_number(ece) is not None else ""
    alt = f"{who}: {known}{leaning} by {number(abs(over), 3)} on average, {number(total, 0)} {noun}."
    return canvas.picture(who, alt)


def _filled_bins(bins: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    names = ("count", "accuracy", "confidence")
    columns = [[to_number(value) for value in bins.get(name) or ()] for name in names]
    rows = zip(*columns, strict=False)
    return [(c, a, p) for c, a, p in rows if c is not None and c > 0 and a is not None and p is not None]


def _centre(confidence: float, bins: int) -> float:
    return (min(int(confidence * bins), bins - 1) + 0.5) / bins


def _draw_gaps(axes: Any, rows: Sequence[tuple[float, float, float]], width: float) -> None:
    bins = round(1 / width)
    for _, accuracy, confidence in rows:
        centre = _centre(confidence, bins)
        axes.bar(centre, accuracy, width=0.9 * width, color=SERIES[0], alpha=0.75)
        axes.bar(
            centre, confidence - accuracy, bottom=accuracy, width=0.9 * width,
            facecolor="none", edgecolor=SERIES[1], hatch="////", linewidth=1.0,
        )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set(ylabel="accuracy", ylim=(0, 1))
    axes.tick_params(labelbottom=False)
