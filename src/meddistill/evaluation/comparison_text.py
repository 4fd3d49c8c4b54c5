"""A comparison as text: the cells of its tables, and these as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from meddistill.evaluation.cautions import cautions
from meddistill.evaluation.class_metrics import CLASS_METRICS, ClassMetric
from meddistill.evaluation.metrics import METRICS, Metric, metric
from meddistill.evaluation.stars import legend, stars

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison, ComparisonRow, ComparisonTest
    from meddistill.evaluation.margin import MarginTest

_METHODS = {
    "wilcoxon": "Sign-flip (paired permutation) test of the mean difference, groups of cases kept together, "
    "and beside it the Wilcoxon signed-rank test per group, both Holm-corrected within each metric; the "
    "effect is the matched-pairs rank-biserial correlation.",
    "bootstrap": "Bootstrap test over groups of cases, both rows on the same samples, Holm-corrected within "
    "each metric; the effect, for scores of single images, is the matched-pairs rank-biserial correlation.",
}
Cells = tuple[list[str], list[list[str]]]
"""The header and the lines of a table."""

_SEEDS = (
    "The interval over seeds also counts what other trainings would give; where that of a difference holds "
    "0, the difference is shown for these seeds only."
)
_DISTANCES = ("hd95", "hd95_detected", "asd")


def comparison_markdown(comparison: Comparison) -> str:
    """The scores of every row and the paired tests, as two Markdown tables with a line that explains them."""
    lines = [*_table(*score_cells(comparison)), "", *score_notes(comparison)]
    if comparison.tests:
        lines += ["", *_table(*paired_cells(comparison)), "", *paired_notes(comparison)]
    if comparison.margins:
        lines += ["", *map(_margin, comparison.margins)]
    if found := cautions(comparison):
        lines += ["", *found]
    return "\n".join(lines) + "\n"


def score_cells(comparison: Comparison) -> Cells:
    """The header and a line for each row: its mean, stars and interval in every metric."""
    cells = {(row.row, row.metric): row for row in comparison.rows}
    names = list(dict.fromkeys(row.row for row in comparison.rows))
    seeds = {row.row: row.seeds for row in comparison.rows}
    marks = {
        (test.row, test.metric): stars(test.p_mean_holm)
        for test in comparison.tests
        if test.against == comparison.baseline
    }
    header = ["row", "seeds", *(_title(name, comparison.unit) for name in comparison.metrics)]
    lines = [
        [
            name,
            str(seeds[name]),
            *(_score(cells[name, column], marks.get((name, column), "")) for column in comparison.metrics),
        ]
        for name in names
    ]
    return header, lines


def score_notes(comparison: Comparison) -> list[str]:
    """What the cells of `score_cells` hold, and what their stars mean."""
    explained = "Mean of the runs' means [95 % CI by group of cases] ± standard deviation over seeds."
    return [explained, *filter(None, [legend(comparison)])]


def described(name: str) -> Metric | ClassMetric:
    """The metric of cases, or else of answers about whole images, called `name`.

    Raises:
        ConfigError: there is none.

    Example:
        >>> described("dice").title, described("auroc").title
        ('Dice', 'AUROC')
    """
    return CLASS_METRICS[name] if name in CLASS_METRICS and name not in METRICS else metric(name)


def paired_cells(comparison: Comparison) -> Cells:
    """The header and a line for each paired test."""
    several, by_case = _over_seeds(comparison), comparison.method == "wilcoxon"
    header = [
        "metric",
        "row - against",
        "difference [95 % CI]",
        *(["over seeds"] if several else []),
        "p",
        "p (Holm)",
        *(["Wilcoxon p (Holm)"] if by_case else []),
        "effect",
        "pairs",
        "better",
    ]
    return header, [_test(test, comparison.unit, several, by_case) for test in comparison.tests]


def paired_notes(comparison: Comparison) -> list[str]:
    """How the tests were made, and how their intervals over seeds are to be read."""
    return [_METHODS[comparison.method], *([_SEEDS] if _over_seeds(comparison) else [])]


def _over_seeds(comparison: Comparison) -> bool:
    return any(math.isfinite(test.seeds_low) for test in comparison.tests)


def _test(test: ComparisonTest, unit: str, several: bool, by_case: bool) -> list[str]:
    digits = _digits(test.metric)
    return [
        _title(test.metric, unit),
        f"{test.row} - {test.against}",
        f"{_number(test.mean_difference, digits, '+')} {_interval(test.low, test.high, digits, '+')}",
        *([_interval(test.seeds_low, test.seeds_high, digits, "+")] if several else []),
        _p(test.p_mean),
        _p(test.p_mean_holm),
        *([_p(test.p_holm)] if by_case else []),
        _number(test.effect_size, 2, "+"),
        str(test.cases),
        _verdict(test),
    ]


def _margin(found: MarginTest) -> str:
    worst, best = (_number(end, _digits(found.metric), "+") for end in (found.worst, found.best))
    interval = f"95 % CI from {worst} to {best}{found.counted}"
    return f"{found.row} - {found.against} in {described(found.metric).title}: {found.words} ({interval})."


def _verdict(test: ComparisonTest) -> str:
    if not test.significant:
        return "not shown"
    better = test.row if test.better else test.against
    return f"{better}, these seeds" if test.these_seeds_only else better


def _score(row: ComparisonRow, marks: str) -> str:
    digits = _digits(row.metric)
    text = f"{_number(row.mean, digits)}{marks} {_interval(row.low, row.high, digits)}"
    return text if math.isnan(row.seed_sd) else f"{text} ± {row.seed_sd:.{digits}f}"


def _title(name: str, unit: str) -> str:
    found = described(name)
    suffix = f" ({unit})" if name in _DISTANCES and unit else ""
    return f"{found.title}{suffix} {'↑' if found.higher_is_better else '↓'}"


def _digits(name: str) -> int:
    return 2 if name in _DISTANCES else 4


def _number(value: float, digits: int, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.{digits}f}"


def _interval(low: float, high: float, digits: int, sign: str = "") -> str:
    return f"[{_number(low, digits, sign)}, {_number(high, digits, sign)}]"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
