"""What each row of a comparison costs beside what it scores: a table and a scatter for each kind of cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from meddistill.report.comparison_tables import ComparedRun
from meddistill.report.numbers import duration, interval, magnitude, metric, metric_label, score
from meddistill.report.reading import to_number
from meddistill.report.svg import SERIES, Picture, drawing
from meddistill.report.tables import Cell, Column, Table

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison, ComparisonRow

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Cost:
    """One kind of cost: its name, what it means, how it is written, and each row's; None when unknown."""

    label: str
    meaning: str
    write: Callable[[Any], str]
    of_rows: Mapping[str, float | None]

    @property
    def varies(self) -> bool:
        """Whether two rows are known to differ in it."""
        return len({value for value in self.of_rows.values() if value is not None}) > 1


@dataclass(frozen=True)
class CostParts:
    """What the page shows: the table, a scatter of each cost that varies, and a sentence on the others."""

    table: Table
    pictures: tuple[Picture, ...]
    sentences: tuple[str, ...]


def costs(runs: Sequence[ComparedRun], rows: Sequence[str]) -> tuple[Cost, ...]:
    """Training time (mean over seeds), parameters, multiply-adds and inference time of each row."""

    def of_rows(value: Callable[[ComparedRun], float | None]) -> dict[str, float | None]:
        known = {row: [v for run in runs if run.row == row and (v := value(run)) is not None] for row in rows}
        return {row: fmean(values) if values else None for row, values in known.items()}

    return (
        Cost(
            "Training time",
            "mean over seeds, on the machine it ran on",
            duration,
            of_rows(lambda r: r.seconds),
        ),
        Cost("Parameters", "of the student", magnitude, of_rows(lambda r: r.parameters)),
        Cost("MACs", "multiply-adds of the student for one image", magnitude, of_rows(lambda r: r.macs)),
        Cost(
            "Inference time",
            "of one image, on the machine that made this page",
            duration,
            of_rows(lambda r: r.inference),
        ),
    )


def cost_parts(comparison: Comparison, runs: Sequence[ComparedRun]) -> CostParts | None:
    """The parts for the first metric of a comparison; None without runs."""
    if not runs or not comparison.metrics:
        return None
    rows = [row for row in comparison.rows if row.metric == comparison.metrics[0]]
    found = costs(runs, [row.row for row in rows])
    return CostParts(
        table=cost_table(rows, found, comparison.unit),
        pictures=tuple(scatter(cost, rows, comparison.unit) for cost in found if cost.varies),
        sentences=tuple(_same(cost) for cost in found if not cost.varies),
    )


def cost_table(rows: Sequence[ComparisonRow], found: Sequence[Cost], unit: str) -> Table:
    """One line a row: its number in the pictures, the first metric, and each cost."""
    name = rows[0].metric
    columns = (
        Column("Row"),
        Column("No.", "in the pictures", numeric=True),
        Column(metric_label(name, unit), metric(name).explanation, numeric=True),
        *(Column(cost.label, cost.meaning, numeric=True) for cost in found),
    )
    lines = [
        (
            Cell(row.row, row.row),
            Cell(str(place), place),
            Cell(
                score(row.mean, name),
                to_number(row.mean),
                note=interval({"low": row.low, "high": row.high}, name),
            ),
            *(_cell(cost, row.row) for cost in found),
        )
        for place, row in enumerate(rows, start=1)
    ]
    return Table("Score and cost of each row", columns, tuple(lines))


def scatter(cost: Cost, rows: Sequence[ComparisonRow], unit: str) -> Picture:
    """The first metric with its interval against a cost; numbers are those of the table."""
    name = rows[0].metric
    known = [(place, row) for place, row in enumerate(rows, start=1) if cost.of_rows[row.row] is not None]
    values = {row.row: cost.of_rows[row.row] or 0.0 for _, row in known}
    logarithmic = min(values.values()) > 0 and max(values.values()) > 5 * min(values.values())
    places = _side_by_side(values, logarithmic=logarithmic)
    with drawing(2.9) as canvas:
        axes = canvas.axes(xlabel=cost.label, ylabel=metric_label(name, unit))
        axes.margins(x=0.08)
        for place, row in known:
            x, colour = places[row.row], SERIES[(place - 1) % len(SERIES)]
            axes.plot([x, x], [row.low, row.high], color=colour, linewidth=1.4)
            axes.plot(x, row.mean, "o", color=colour, markersize=4.5)
            axes.annotate(str(place), (x, row.mean), xytext=(4, 3), textcoords="offset points", fontsize=8)
        _set_scale(axes, cost, logarithmic=logarithmic)
    words = "; ".join(
        f"{place} {row.row}: {cost.write(values[row.row])}, {score(row.mean, name)}" for place, row in known
    )
    return canvas.picture(
        f"{metric_label(name, unit)} against {cost.label.lower().replace('macs', 'MACs')}", f"{words}."
    )


def _set_scale(axes: Any, cost: Cost, *, logarithmic: bool) -> None:
    """Costs as the table writes them, at round numbers."""
    from matplotlib.ticker import LogLocator

    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: cost.write(value))


def _side_by_side(values: Mapping[str, float], *, logarithmic: bool) -> dict[str, float]:
    """Where to draw each row: rows of one cost a little beside each other."""
    low, high = min(values.values()), max(values.values())
    places = {}
    for row, value in values.items():
        same = [name for name, other in values.items() if other == value]
        share = min(0.03, 0.3 / len(same)) * (same.index(row) - (len(same) - 1) / 2)
        places[row] = value * (high / low) ** share if logarithmic else value + share * (high - low)
    return places


def _cell(cost: Cost, row: str) -> Cell:
    value = cost.of_rows[row]
    return Cell(NOT_RECORDED) if value is None else Cell(cost.write(value), value)


def _same(cost: Cost) -> str:
    known = [value for value in cost.of_rows.values() if value is not None]
    if not known:
        return f"{cost.label}: {NOT_RECORDED} by these runs."
    return f"{cost.label}: {cost.write(known[0])} in every row" + (
        "." if len(known) == len(cost.of_rows) else " that recorded it."
    )
