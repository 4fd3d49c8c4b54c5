"""Looking at a data set before training on it: counts, sizes, labels, duplicates, leaks and broken files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from meddistill.data._inspect_answers import check_answers
from meddistill.data._inspect_cases import examine_source
from meddistill.data._inspect_checks import check_cases
from meddistill.data._inspect_overlap import check_splits, check_twins, find_twins, splits_of
from meddistill.data._inspect_shortcuts import check_shortcuts, find_shortcuts, shortcut_tables
from meddistill.data._inspect_tables import make_tables
from meddistill.data._inspect_types import LEVELS, Finding, Inspection, Level, Table
from meddistill.data._inspect_weak import WeakFacts, weak_findings, weak_tables
from meddistill.data.case import Source, Split

__all__ = ["Finding", "Inspection", "Level", "Table", "add_supervision", "inspect_source", "render"]

_SHOWN = 5


def inspect_source(source: Source, split: Split | None = None) -> Inspection:
    """Read every case of `source` and report what should be known or mended before training.

    Files that cannot be read are collected, not fatal. Errors: unreadable files, images of another shape or
    value range, labels of another size or with unknown values, cases and groups in two splits, equal images
    in two splits or with different labels or strata. Warnings: near-duplicates across splits or strata,
    further equal images, constant images, absent classes (of whole-image labels also those absent from one
    split), groups that the file names suggest and the split divides, and classes of whole images that the
    border of the image or its file gives away.

    Args:
        source: what to inspect.
        split: the split to check; None takes the one that the source itself gives, if any.

    Example:
        >>> from meddistill.data.phantom import PhantomSource
        >>> inspection = inspect_source(PhantomSource(6, size=(32, 32)))
        >>> inspection.num_cases, inspection.has_errors, inspection.tables[0].columns
        (6, False, ('stratum', 'total'))
    """
    facts = examine_source(source)
    places = splits_of(source, split)
    twins = find_twins(facts, places)
    shortcuts = find_shortcuts(source, facts)
    findings = [
        *check_cases(source, facts),
        *check_answers(source, facts, places),
        *check_splits(source, places),
        *check_twins(twins, places),
        *check_shortcuts(shortcuts),
    ]
    return Inspection(
        num_cases=len(source.cases),
        tables=(*make_tables(source, facts, places, twins), *shortcut_tables(shortcuts)),
        findings=_worst_first(findings),
    )


def add_supervision(
    inspection: Inspection, facts: Sequence[WeakFacts], class_names: Sequence[str]
) -> Inspection:
    """The inspection with what there is to say of weak labels.

    Args:
        inspection: of the whole source.
        facts: of the training cases.
        class_names: name of each label value.
    """
    return replace(
        inspection,
        tables=(*inspection.tables, *weak_tables(facts, class_names)),
        findings=_worst_first([*inspection.findings, *weak_findings(facts, class_names)]),
    )


def _worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def render(inspection: Inspection) -> str:
    """The inspection as plain text, tables first, then the findings with their first few items.

    Example:
        >>> print(render(Inspection(1, (Table("Cases", ("stratum", "total"), (("benign", 1),)),), ())))
        Cases
          stratum  total
          benign       1
        <BLANKLINE>
        1 case: 0 errors, 0 warnings, 0 notes
    """
    blocks = [_table(table) for table in inspection.tables]
    blocks += [_finding(finding) for finding in inspection.findings]
    counts = (sum(f.level == level for f in inspection.findings) for level in LEVELS)
    totals = ", ".join(_count(count, level) for count, level in zip(counts, LEVELS, strict=True))
    return "\n\n".join([*blocks, f"{_count(inspection.num_cases, 'case')}: {totals}"])


def _table(table: Table) -> str:
    cells = [table.columns, *([_cell(value) for value in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    numeric = [all(not isinstance(row[c], str) for row in table.rows) for c in range(len(widths))]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        )
        for row in cells
    ]
    return "\n".join([table.title, *(f"  {line}".rstrip() for line in lines)])


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _finding(finding: Finding) -> str:
    head = f"{finding.level.upper()} [{finding.kind}] {finding.message}"
    shown = [f"  {item}" for item in finding.items[:_SHOWN]]
    rest = len(finding.items) - _SHOWN
    return "\n".join([head, *shown, *([f"  and {rest} more"] if rest > 0 else [])])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
