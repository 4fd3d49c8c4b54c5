"""The curve of a sweep: the mean score over kinds by severity, a line with a band for each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from meddistill.evaluation.corrupted_means import CLEAN
from meddistill.report.figures import draw_legend, room_for
from meddistill.report.numbers import interval, metric, score
from meddistill.report.svg import DASHES, SERIES, Picture, drawing

if TYPE_CHECKING:
    from meddistill.evaluation.corrupted_means import CorruptedMean, Robustness


def severity_curves(found: Robustness) -> Picture:
    """The mean over kinds of each row by severity, 0 being the images as they are, with 95 % intervals.

    Example:
        >>> from meddistill.evaluation.corrupted_means import CorruptedMean, Robustness
        >>> clean = CorruptedMean("kd", "clean", 0, 0.8, 0.7, 0.9)
        >>> fog = CorruptedMean("kd", "all", 2, 0.6, 0.5, 0.7)
        >>> found = Robustness("dice", "kd", ("kd",), ("fog",), (2,), (clean, fog), {}, {})
        >>> severity_curves(found).alt.replace("\N{NO-BREAK SPACE}", " ")
        'Dice by severity. kd: 0.800 (0.700 to 0.900) at 0, 0.600 (0.500 to 0.700) at 2.'
    """
    lines = {
        row: [found.of(row, CLEAN, 0), *(found.of(row, severity=s) for s in found.severities)]
        for row in found.rows
    }
    with drawing(3.2) as canvas:
        axes = canvas.axes(xlabel="severity", ylabel=f"{metric(found.metric).label}, mean over kinds")
        for position, (row, means) in enumerate(lines.items()):
            style = position % len(SERIES)
            at = [mean.severity for mean in means]
            axes.fill_between(
                at,
                [m.low for m in means],
                [m.high for m in means],
                color=SERIES[style],
                alpha=0.15,
                linewidth=0,
            )
            axes.plot(
                at,
                [m.mean for m in means],
                label=row,
                color=SERIES[style],
                linestyle=DASHES[style],
                marker="o",
            )
        axes.set_xticks([0, *found.severities])
        ends = [end for means in lines.values() for m in means for end in (m.mean, m.low, m.high)]
        axes.set_ylim(*room_for([end for end in ends if math.isfinite(end)] or [0.0, 1.0]))
        draw_legend(canvas.figure, axes)
    label = metric(found.metric).label
    words = "; ".join(f"{row}: {_words(means, found.metric)}" for row, means in lines.items())
    return canvas.picture(f"{label} by severity", f"{label} by severity. {words}.")


def _words(means: list[CorruptedMean], name: str) -> str:
    said = (
        f"{score(m.mean, name)} ({interval({'low': m.low, 'high': m.high}, name)}) at {m.severity}"
        for m in means
    )
    return ", ".join(said)
