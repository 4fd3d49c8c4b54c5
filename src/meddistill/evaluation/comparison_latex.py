"""A comparison as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddistill.evaluation.comparison_text import paired_cells, paired_notes, score_cells, score_notes
from meddistill.evaluation.latex import latex_table

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison

_TEXT = frozenset({"row", "metric", "row - against", "better"})


def comparison_latex(comparison: Comparison) -> str:
    """The scores of every row and the paired tests, as two LaTeX tables whose captions explain them."""
    parts = [(score_cells, score_notes, "scores")]
    if comparison.tests:
        parts.append((paired_cells, paired_notes, "tests"))
    tables = []
    for cells, notes, name in parts:
        header, rows = cells(comparison)
        tables.append(
            latex_table(
                header,
                rows,
                caption=" ".join(notes(comparison)),
                label=f"tab:{name}",
                numeric=[column not in _TEXT for column in header],
            )
        )
    return "% needs \\usepackage{booktabs}\n" + "\n".join(tables)
