"""The ranks of a comparison on its page: critical-difference diagrams, a table, and a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from meddistill.evaluation.ranks import Ranks
from meddistill.report.numbers import metric, number, p_value
from meddistill.report.reading import to_number
from meddistill.report.svg import INK, MUTED, SERIES, WIDTH, Picture, drawing
from meddistill.report.tables import Cell, Column, Table

LONGEST = 16
"""Longer names of rows are cut in the diagram; the table has them in full."""

_LETTER = 0.075
"""Width of a letter in inches, at 9 point."""


@dataclass(frozen=True)
class RankParts:
    """What the page shows: the diagram of the first metric, those of others, their table, and a sentence."""

    first: Picture
    others: tuple[Picture, ...]
    table: Table
    sentence: str


def rank_parts(ranks: Sequence[Ranks]) -> RankParts | None:
    """The parts for the ranks in each metric; None without any."""
    if not ranks:
        return None
    first, *others = map(rank_diagram, ranks)
    return RankParts(first, tuple(others), rank_table(ranks), rank_sentence(ranks[0]))


def rank_sentence(found: Ranks) -> str:
    """What the Friedman test says of the first metric, and what lies within the critical difference.

    Example:
        >>> alike, nan = (("c", "b", "a"),), float("nan")
        >>> found = Ranks("dice", "a", ("c", "b", "a"), (1.9, 2.0, 2.1), (0.5, 0.6, nan), 0.4, 30, 0.6, alike)
        >>> rank_sentence(found)
        'In Dice the rows are not shown to rank differently over 30 groups of cases (Friedman p 0.4000).'
    """
    name, p = metric(found.metric).label, p_value(found.p_friedman)
    told = f"over {found.groups} groups of cases (Friedman p {p})"
    if not found.differ:
        return f"In {name} the rows are not shown to rank differently {told}."
    return (
        f"In {name} the rows rank differently {told}: {_alike(found)}. The critical difference in mean rank "
        f"is {number(found.critical_difference, 2)}."
    )


def rank_diagram(found: Ranks) -> Picture:
    """The critical-difference diagram: an axis of mean ranks, best to the left, bars joining rows alike."""
    shown = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in found.rows]
    levels = (len(shown) + 1) // 2
    bars = 0.16 * len(found.alike)
    with drawing(0.62 + bars + 0.24 * levels) as canvas:
        axes = canvas.axes()
        axes.set_axis_off()
        left, right = _limits(len(shown), max(map(len, shown)))
        axes.set_xlim(left, right)
        axes.set_ylim(-bars - 0.24 * levels - 0.06, 0.5)
        _draw_scale(axes, len(shown), found.critical_difference)
        _draw_bars(axes, found)
        for place, (name, rank) in enumerate(zip(shown, found.mean_ranks, strict=True)):
            is_left = place < levels
            depth = -bars - 0.24 * (1 + (place if is_left else len(shown) - 1 - place))
            edge = left if is_left else right
            colour = MUTED if found.rows[place] == found.baseline else INK
            axes.plot([rank, rank, edge], [0, depth, depth], color=colour, linewidth=0.9)
            axes.text(edge, depth + 0.02, name, color=INK, va="bottom", ha="left" if is_left else "right")
    ranks = zip(found.rows, found.mean_ranks, strict=True)
    words = "; ".join(f"{name} {number(rank, 2)}" for name, rank in ranks)
    alt = (
        f"Mean ranks, best first: {words}. Critical difference {number(found.critical_difference, 2)}; "
        f"{_alike(found)}."
    )
    return canvas.picture(f"Mean ranks in {metric(found.metric).label}", alt)


def rank_table(ranks: Sequence[Ranks]) -> Table:
    """One line a metric and row: mean rank, p against the baseline, rows that it is not told apart from."""
    columns = (
        Column("Row"),
        Column("Metric"),
        Column("Mean rank", "1 is best in every group of cases", numeric=True),
        Column(
            "Holm p",
            "z test against the baseline, where the Friedman test finds a difference",
            numeric=True,
        ),
        Column("Groups", "groups of cases in which every row has a score", numeric=True),
        Column("Not told apart from"),
    )
    lines = [line for found in ranks for line in _lines(found)]
    return Table("Mean ranks over groups of cases", columns, tuple(lines))


def _lines(found: Ranks) -> Iterable[tuple[Cell, ...]]:
    for name, rank, p in zip(found.rows, found.mean_ranks, found.p_holm, strict=True):
        others = {other for rows in found.alike if name in rows for other in rows} - {name}
        is_base = name == found.baseline
        yield (
            Cell(f"{name} (baseline)" if is_base else name, name),
            Cell(metric(found.metric).label),
            Cell(number(rank, 2), rank),
            Cell(p_value(p), to_number(p)),
            Cell(number(found.groups, 0), found.groups),
            Cell(", ".join(other for other in found.rows if other in others) or "none"),
        )


def _alike(found: Ranks) -> str:
    if not found.alike:
        return "every two rows are told apart"
    return "not told apart are " + "; ".join(" and ".join(_joined(rows)) for rows in found.alike)


def _joined(rows: Sequence[str]) -> list[str]:
    """Two names to put an `and` between: of more than two rows the first ones are listed."""
    return [", ".join(rows[:-1]), rows[-1]]


def _limits(rows: int, letters: int) -> tuple[float, float]:
    """Ends of the horizontal axis that leave room for names beside the ranks 1 to `rows`."""
    room = min(letters * _LETTER, WIDTH / 3)
    scale = (rows - 1) / (WIDTH - 2 * room)
    return 1 - room * scale, rows + room * scale


def _draw_scale(axes: Any, rows: int, difference: float) -> None:
    axes.plot([1, rows], [0, 0], color=MUTED, linewidth=1)
    for rank in _ticks(rows):
        axes.plot([rank, rank], [0, 0.05], color=MUTED, linewidth=1)
        axes.text(rank, 0.07, str(rank), color=INK, ha="center", va="bottom")
    axes.plot([1, 1 + difference], [0.34, 0.34], color=MUTED, linewidth=2)
    axes.text(1, 0.37, f"critical difference {number(difference, 2)}", color=INK, va="bottom")


def _ticks(rows: int) -> list[int]:
    step = max(1, round(rows / 8))
    return list(range(1, rows + 1, step))


def _draw_bars(axes: Any, found: Ranks) -> None:
    rank_of = dict(zip(found.rows, found.mean_ranks, strict=True))
    for level, rows in enumerate(found.alike):
        ends = [rank_of[rows[0]] - 0.04, rank_of[rows[-1]] + 0.04]
        axes.plot(ends, [-0.1 - 0.16 * level] * 2, color=SERIES[0], linewidth=4, solid_capstyle="butt")
