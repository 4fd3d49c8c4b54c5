"""The tables of a page as CSV and LaTeX beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from meddistill.evaluation.latex import latex_table
from meddistill.files import csv_text, write_text
from meddistill.report.tables import Cell, Table


def with_files(table: Table, folder: Path, stem: str) -> Table:
    """Write `stem`.csv and `stem`.tex into `folder`, the page's own, and return the table that links to them.

    Raises:
        RunError: a file cannot be written.
    """
    written = {f"{stem}.csv": table_csv(table), f"{stem}.tex": table_latex(table, f"tab:{stem}")}
    for name, text in written.items():
        write_text(folder / name, text)
    return replace(table, files=tuple(written))


def with_existing(table: Table, folder: Path, stem: str) -> Table:
    """The table with links to those of `stem`.csv, `.tex` and `.md` that are in `folder`."""
    names = (f"{stem}{ending}" for ending in (".csv", ".tex", ".md"))
    return replace(table, files=tuple(name for name in names if (folder / name).is_file()))


def table_csv(table: Table) -> str:
    """The table as CSV: numbers with all their digits, and what stands beneath them in columns of its own.

    Example:
        >>> from meddistill.report.tables import Column
        >>> cells = (Cell("kd"), Cell("0.81", 0.8125, note="0.78 to 0.84"))
        >>> print(table_csv(Table("Scores", (Column("Row"), Column("Dice", numeric=True)), (cells,))))
        Row,Dice,Dice (note)
        kd,0.8125,0.78 to 0.84
        <BLANKLINE>
    """
    noted = [any(row[place].note for row in table.rows) for place in range(len(table.columns))]
    numbers = [column.numeric for column in table.columns]
    rows = (
        [(_value(cell, number), _note(cell)) for cell, number in zip(row, numbers, strict=True)]
        for row in table.rows
    )
    names = [(column.label, f"{column.label} (note)") for column in table.columns]
    return csv_text(_with_notes(names, noted), (_with_notes(cells, noted) for cells in rows))


def table_latex(table: Table, label: str) -> str:
    """The table as LaTeX, each cell as the page shows it with the first line of its note."""
    return latex_table(
        [column.label for column in table.columns],
        [[_shown(cell) for cell in row] for row in table.rows],
        caption=table.caption,
        label=label,
        numeric=[column.numeric for column in table.columns],
    )


def _with_notes(cells: Sequence[tuple[str, str]], noted: Sequence[bool]) -> list[str]:
    return [text for pair, both in zip(cells, noted, strict=True) for text in pair[: 2 if both else 1]]


def _value(cell: Cell, number: bool) -> str:
    if not number:
        return cell.text
    return "" if cell.value is None else str(cell.value)


def _note(cell: Cell) -> str:
    return "; ".join(part for part in (cell.stars, *cell.note.splitlines()) if part).replace("\xa0", " ")


def _shown(cell: Cell) -> str:
    first = cell.note.partition("\n")[0]
    return f"{cell.text}{cell.stars}" + (f" ({first})" if first else "")
