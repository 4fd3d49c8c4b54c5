"""The table of a comparison as files: Markdown to read, CSV to compute with, LaTeX for a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from meddistill.errors import ConfigError
from meddistill.evaluation import Comparison
from meddistill.files import write_text

WRITERS: Mapping[str, Callable[[Comparison], str]] = {
    ".md": Comparison.to_markdown,
    ".csv": Comparison.to_csv,
    ".tex": Comparison.to_latex,
}
"""What a file holds, by its ending."""


def in_folder(folder: Path, stem: str = "table") -> list[Path]:
    """One file of each kind, called `stem`.

    Example:
        >>> [file.name for file in in_folder(Path("found"))]
        ['table.md', 'table.csv', 'table.tex']
    """
    return [folder / f"{stem}{ending}" for ending in WRITERS]


def table_files(out: Path) -> list[Path]:
    """The files that `out` asks for: itself where it has a known ending, else one of each kind in it.

    Raises:
        ConfigError: the ending is of another kind of file.

    Example:
        >>> [file.name for file in table_files(Path("found.tex"))], len(table_files(Path("found")))
        (['found.tex'], 3)
    """
    if out.is_dir() or not out.suffix:
        return in_folder(out)
    if out.suffix not in WRITERS:
        endings = ", ".join(WRITERS)
        raise ConfigError(f"{out}: a table cannot be written as {out.suffix}; use {endings}, or a folder")
    return [out]


def write_table(comparison: Comparison, file: Path) -> None:
    """Write the table in one step, as the ending of `file` says.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(file, WRITERS[file.suffix](comparison))
