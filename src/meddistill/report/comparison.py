"""`write_comparison`: one page that compares the rows of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddistill.evaluation.cautions import cautions
from meddistill.files import write_text
from meddistill.report.comparison_sentences import sentences
from meddistill.report.comparison_tables import (
    ComparedRun,
    runs_table,
    score_table,
    tests_table,
)
from meddistill.report.cost_parts import cost_parts
from meddistill.report.details import Details
from meddistill.report.forest import Estimate, forest
from meddistill.report.numbers import set_words
from meddistill.report.rank_parts import rank_parts
from meddistill.report.reading import to_number
from meddistill.report.reproduction import reproduction
from meddistill.report.subgroup_parts import subgroup_parts
from meddistill.report.svg import Picture
from meddistill.report.table_files import with_existing, with_files
from meddistill.report.tables import Table
from meddistill.report.templates import render

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison


def write_comparison(
    title: str,
    comparison: Comparison,
    output: Path,
    *,
    name: str = "test",
    others: Mapping[str, Comparison] | None = None,
    runs: Sequence[ComparedRun] = (),
    details: Details | None = None,
    command: str = "",
    config: str = "",
) -> Path:
    """Write the page of a comparison: one file that loads nothing, with relative links to the runs' reports.

    Its further tables (ranks, costs, subgroups, disputed cases, runs) are written beside it as CSV and LaTeX.
    Where `table.csv`, `table.tex` and `table.md` lie there, the page links to them, too.

    Args:
        title: heading of the page.
        comparison: what `meddistill.evaluation.compare_runs` found.
        output: the HTML file; it is replaced in one step.
        name: of the set that it was made on, `test` for the test split.
        others: further comparisons of the same rows, by the name of the test set.
        runs: the runs behind the rows, for what they cost, the links, and what it takes to make them again.
        details: what else is known of the rows: ranks, subgroups, disputed cases.
        command: the command that makes this page again.
        config: the recipe of the study, as YAML.

    Returns:
        `output`.

    Raises:
        RunError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from meddistill.evaluation.compare import Comparison, ComparisonRow
        >>> row = ComparisonRow("iid", "dice", mean=0.81, low=0.78, high=0.84, seed_sd=0.01, seeds=3, cases=9)
        >>> comparison = Comparison("iid", ("dice",), "px", rows=(row,), tests=())
        >>> page = write_comparison("Demo", comparison, Path(tempfile.mkdtemp()) / "report.html")
        >>> "0.780" in page.read_text(encoding="utf-8")
        True
    """
    folder = output.parent
    page = render(
        "comparison.html",
        title=title,
        first=_on_set(name, comparison, runs, folder),
        others=[
            _on_set(other, found, runs, folder, set_words(other)) for other, found in (others or {}).items()
        ],
        **_parts(comparison, runs, details or Details(), folder),
        again=reproduction(runs),
        command=command,
        config=config,
    )
    write_text(output, page)
    return output


def _parts(
    comparison: Comparison, runs: Sequence[ComparedRun], details: Details, folder: Path
) -> dict[str, Any]:
    """The parts of the page beyond scores and tests, their tables written into `folder`; None where empty."""
    ranks, costs = rank_parts(details.ranks), cost_parts(comparison, runs)
    groups = subgroup_parts(details.subgroups, details.subgroup_metric, comparison.unit)
    table = runs_table(runs, folder)
    return {
        "ranks": ranks and replace(ranks, table=with_files(ranks.table, folder, "ranks")),
        "costs": costs and replace(costs, table=with_files(costs.table, folder, "costs")),
        "disputes": details.disputes
        and replace(details.disputes, table=with_files(details.disputes.table, folder, "disputes")),
        "subgroups": groups
        and replace(
            groups,
            tables={
                kind: with_files(one, folder, f"subgroups-{kind}") for kind, one in groups.tables.items()
            },
        ),
        "runs": table and with_files(table, folder, "runs"),
    }


@dataclass(frozen=True)
class SetSection:
    """What the page shows of one set of cases: `words` names it, the rest is drawn from its comparison.

    `bootstrap` says whether rows were tested by bootstrap samples, and not case by case; `seeds` whether
    there are intervals over seeds.
    """

    name: str
    words: str
    baseline: str
    sentences: tuple[str, ...]
    table: Table
    tests: Table | None
    pictures: tuple[Picture, ...]
    bootstrap: bool
    seeds: bool
    cautions: tuple[str, ...]


def _on_set(
    name: str, comparison: Comparison, runs: Sequence[ComparedRun], folder: Path, where: str = ""
) -> SetSection:
    """Its section; `where`, which the first set lacks, goes into the titles of the pictures."""
    stem = f"table-{name}" if where else "table"
    return SetSection(
        name=name,
        words=set_words(name),
        baseline=comparison.baseline,
        sentences=tuple(sentences(comparison)),
        table=with_existing(score_table(comparison, runs), folder, stem),
        tests=tests_table(comparison),
        pictures=tuple(_pictures(comparison, where)),
        bootstrap=comparison.method == "bootstrap",
        seeds=any(to_number(row.seeds_low) is not None for row in comparison.rows),
        cautions=tuple(cautions(comparison)),
    )


def _pictures(comparison: Comparison, where: str) -> list[Picture]:
    drawn = []
    for name in comparison.metrics:
        rows = [
            Estimate(row.row, row.mean, row.low, row.high) for row in comparison.rows if row.metric == name
        ]
        drawn.append(forest(name, rows, comparison.baseline, comparison.unit, where))
    return [picture for picture in drawn if picture]
