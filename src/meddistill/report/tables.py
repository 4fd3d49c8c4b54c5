"""Tables of a page: columns that know how to sort, cells that know what they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meddistill.report.numbers import METRICS, compact, metric, metric_label, number, score
from meddistill.report.reading import History, to_number

STATES = {
    "ok": "scored",
    "both_empty": "both empty",
    "missed": "missed",
    "false_alarm": "false alarm",
}
"""Words for the states of a case; `both_empty` means that neither truth nor prediction marks anything."""
KINDS = {".csv": "CSV", ".tex": "LaTeX", ".md": "Markdown"}
"""What the files of a table are, by their ending."""

_PLAIN = {"None": "not set", "True": "yes", "False": "no"}


@dataclass(frozen=True)
class Column:
    """Heading of a column, its explanation, and whether it sorts by number."""

    label: str
    title: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """What one cell shows.

    Args:
        text: what is read first.
        value: what the column sorts by; None sorts last.
        state: a key of `STATES` that the text marks.
        note: a smaller second line.
        stars: marks of significance after the text.
        link: address that the text leads to.
    """

    text: str
    value: float | str | None = None
    state: str = ""
    note: str = ""
    stars: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption, its columns and its rows; the first cell of a row is its heading.

    `files` names files beside the page that hold the same table.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    files: tuple[str, ...] = ()

    @property
    def links(self) -> list[tuple[str, str]]:
        """What kind each file is of, and the address it has from the page."""
        return [(KINDS[Path(name).suffix], quote(name)) for name in self.files]


def case_table(scores: Sequence[Mapping[str, str]]) -> Table | None:
    """The per-case scores; columns without any entry and a class column with one class are left out."""
    if not scores:
        return None
    names = [name for name in scores[0] if any(row.get(name) for row in scores)]
    if len({row.get("class") for row in scores}) == 1 and "class" in names:
        names.remove("class")
    if all(row.get("group") == row.get("case") for row in scores) and "group" in names:
        names.remove("group")
    units = {row.get("unit", "") for row in scores}
    if len(units) == 1 and "unit" in names:
        names.remove("unit")
    unit = units.pop() if len(units) == 1 else ""
    rows = tuple(tuple(_case_cell(name, row.get(name, "")) for name in names) for row in scores)
    return Table("Scores of every test case", tuple(_case_column(name, unit) for name in names), rows)


def history_table(history: History) -> Table | None:
    """The numbers behind the training curves, one row an epoch."""
    names = [name for name, values in history.items() if any(value is not None for value in values)]
    if not names:
        return None
    columns = tuple(Column(name.replace("_", " "), numeric=True) for name in names)
    rows = zip(*(history[name] for name in names), strict=True)
    return Table(
        "Numbers of every epoch", columns, tuple(tuple(Cell(compact(v), v) for v in row) for row in rows)
    )


def settings(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """A nested mapping as (dotted name, text) pairs; a long list is told by its length and its first entries.

    Example:
        >>> list(settings({"torch": {"version": "2.12"}, "seeds": [1, 2]}))
        [('torch.version', '2.12'), ('seeds', '1, 2')]
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from settings(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, _listed(value)
        else:
            yield name, _PLAIN.get(str(value), str(value))


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{len(values)} entries: {shown}, …"


def _case_column(name: str, unit: str) -> Column:
    if name in METRICS:
        return Column(metric_label(name, unit), metric(name).explanation, numeric=True)
    if name.startswith("p_"):
        return Column(f"p({name.removeprefix('p_')})", "probability that the student gives it", numeric=True)
    if name.startswith("y_"):
        return Column(name.removeprefix("y_"), "1 where the label holds", numeric=True)
    return Column(name.replace("_", " ").capitalize())


def _case_cell(name: str, text: str) -> Cell:
    if name in METRICS:
        return Cell(score(text, name), to_number(text))
    if name.startswith("p_"):
        return Cell(number(text), to_number(text))
    if name == "state":
        return Cell(STATES.get(text, text), text, text)
    return Cell(text, text)
