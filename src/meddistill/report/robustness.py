"""`write_robustness`: one page on what a corruption sweep found, and on the attacks made beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddistill.evaluation.corrupted_means import CLEAN, EVERY
from meddistill.files import write_text
from meddistill.report.figures import Points, strength_curves
from meddistill.report.forest import Estimate, forest
from meddistill.report.numbers import interval, metric, number, p_value, score, signed, signed_interval
from meddistill.report.reading import to_number
from meddistill.report.severity import severity_curves
from meddistill.report.svg import Picture
from meddistill.report.tables import Cell, Column, Table
from meddistill.report.templates import render

if TYPE_CHECKING:
    from meddistill.evaluation.corrupted_means import CorruptedMean, Robustness


def write_robustness(
    found: Robustness, points: Sequence[Mapping[str, Any]], output: Path, *, command: str = ""
) -> Path:
    """Write the page of a sweep: one file that loads nothing.

    Args:
        found: means, intervals and differences.
        points: all points of the curves; those of kinds that are no corruption are drawn as attacks.
        output: the HTML file; it is replaced in one step.
        command: the command that makes this page again.

    Returns:
        `output`.

    Raises:
        RunError: the file cannot be written.
    """
    page = render(
        "robustness.html",
        title=f"{metric(found.metric).label} on corrupted images",
        found=found,
        sentences=[_sentence(found, row) for row in found.rows],
        pictures=[picture for picture in (severity_curves(found), _forest(found)) if picture],
        attacks=_attacks(found, points),
        severities=_by_severity(found),
        kinds=_by_kind(found),
        several=len(found.rows) > 1,
        seeds=any(to_number(mean.seeds_low) is not None for mean in found.means),
        command=command,
    )
    write_text(output, page)
    return output


def _sentence(found: Robustness, row: str) -> str:
    """What is found of a row, in one sentence."""
    mean, name = found.of(row), found.metric
    value = f"{metric(name).label} {score(mean.mean, name)} (95 % CI {_ends(mean, name)})"
    words = f"{row}: {value}, {number(found.relative[row], 2)} of its clean score"
    if row == found.baseline:
        return f"{words}."
    error = number(found.corruption_error[row], 2)
    return (
        f"{words}; {_difference(mean, name)} against {found.baseline}, corruption error {error} of its error."
    )


def _ends(mean: CorruptedMean, name: str) -> str:
    return interval({"low": mean.low, "high": mean.high}, name)


def _difference(mean: CorruptedMean, name: str) -> str:
    ends = signed_interval(mean.difference_low, mean.difference_high, name)
    return f"{signed(mean.difference, name)} (95 % CI {ends}, Holm p {p_value(mean.p_holm)})"


def _forest(found: Robustness) -> Picture | None:
    means = [found.of(row) for row in found.rows]
    estimates = [Estimate(mean.row, mean.mean, mean.low, mean.high) for mean in means]
    return forest(found.metric, estimates, found.baseline, where="mean over all corruptions")


def _attacks(found: Robustness, points: Sequence[Mapping[str, Any]]) -> Picture | None:
    """The same score of every run by the strength of each attack."""
    curves: dict[str, Points] = {}
    for point in points:
        scored = point["metric"] == found.metric and point["mean"] is not None
        if scored and point["disturbance"] not in (CLEAN, *found.kinds):
            curves.setdefault(f"{point['run']} {point['disturbance']}", []).append(
                (point["strength"], point["mean"])
            )
    return strength_curves(curves, metric(found.metric).label)


def _by_severity(found: Robustness) -> Table:
    """A row for each severity, a column for each row of the study and one for its difference."""
    places = [(CLEAN, 0, "none"), *((EVERY, s, str(s)) for s in found.severities), (EVERY, None, "mean")]
    rows = [
        (Cell(words, 9.0 if severity is None else float(severity)), *_cells(found, kind, severity))
        for kind, severity, words in places
    ]
    first = Column("Severity", "mean over the kinds; none is the images as they are", numeric=True)
    return Table("Mean over kinds by severity", (first, *_columns(found)), tuple(rows))


def _by_kind(found: Robustness) -> Table:
    """A row for each kind."""
    rows = [(Cell(kind.replace("_", " "), kind), *_cells(found, kind, None)) for kind in found.kinds]
    first = Column("Corruption", "mean over its severities")
    return Table("Mean over severities by kind", (first, *_columns(found)), tuple(rows))


def _columns(found: Robustness) -> Iterator[Column]:
    for row in found.rows:
        yield Column(row, metric(found.metric).explanation, numeric=True)
        if row != found.baseline:
            yield Column(f"{row} − {found.baseline}", "difference of the two means", numeric=True)


def _cells(found: Robustness, kind: str, severity: int | None) -> Iterator[Cell]:
    name = found.metric
    for row in found.rows:
        mean = found.of(row, kind, severity)
        seeds = interval({"low": mean.seeds_low, "high": mean.seeds_high}, name)
        note = _ends(mean, name) + (f"\n{seeds} over seeds" if to_number(mean.seeds_low) is not None else "")
        yield Cell(score(mean.mean, name), mean.mean, note=note)
        if row != found.baseline:
            yield _difference_cell(mean, name)


def _difference_cell(mean: CorruptedMean, name: str) -> Cell:
    ends = signed_interval(mean.difference_low, mean.difference_high, name)
    note = f"{ends}\nHolm p {p_value(mean.p_holm)}"
    if to_number(mean.difference_seeds_low) is not None:
        over = signed_interval(mean.difference_seeds_low, mean.difference_seeds_high, name)
        note += f"\n{over} over seeds"
    return Cell(signed(mean.difference, name), mean.difference, note=note)
