"""A comparison as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from meddistill.evaluation.class_metrics import CLASS_METRICS
from meddistill.evaluation.metrics import METRICS, metric

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison, ComparisonRow, ComparisonTest

_METHODS = {
    "wilcoxon": "Wilcoxon signed-rank test per group of cases, Holm-corrected within each metric; the effect "
    "is the matched-pairs rank-biserial correlation.",
    "bootstrap": "Bootstrap test over groups of cases, both rows on the same samples, Holm-corrected within "
    "each metric; the effect, for scores of single images, is the matched-pairs rank-biserial correlation.",
}
_DISTANCES = ("hd95", "hd95_detected", "asd")


def comparison_markdown(comparison: Comparison) -> str:
    """The scores of every row and the paired tests, as two Markdown tables with a line that explains them."""
    cells = {(row.row, row.metric): row for row in comparison.rows}
    names = list(dict.fromkeys(row.row for row in comparison.rows))
    seeds = {row.row: row.seeds for row in comparison.rows}
    scores = _table(
        ["row", "seeds", *(_title(name, comparison.unit) for name in comparison.metrics)],
        (
            [name, str(seeds[name]), *(_score(cells[name, column]) for column in comparison.metrics)]
            for name in names
        ),
    )
    lines = [
        *scores,
        "",
        "Mean of the runs' means [95 % CI by group of cases] ± standard deviation over seeds.",
    ]
    if comparison.tests:
        lines += ["", *_tests(comparison)]
    return "\n".join(lines) + "\n"


def _tests(comparison: Comparison) -> list[str]:
    header = ["metric", "row - against", "difference [95 % CI]", "p", "p (Holm)", "effect", "pairs", "better"]
    return [
        *_table(header, (_test(test, comparison.unit) for test in comparison.tests)),
        "",
        _METHODS[comparison.method],
    ]


def _test(test: ComparisonTest, unit: str) -> list[str]:
    digits = _digits(test.metric)
    return [
        _title(test.metric, unit),
        f"{test.row} - {test.against}",
        f"{_number(test.mean_difference, digits, '+')} {_interval(test.low, test.high, digits, '+')}",
        _p(test.p_value),
        _p(test.p_holm),
        _number(test.effect_size, 2, "+"),
        str(test.cases),
        _verdict(test),
    ]


def _verdict(test: ComparisonTest) -> str:
    if not test.p_holm < 0.05:
        return "not shown"
    return test.row if test.better else test.against


def _score(row: ComparisonRow) -> str:
    digits = _digits(row.metric)
    text = f"{_number(row.mean, digits)} {_interval(row.low, row.high, digits)}"
    return text if math.isnan(row.seed_sd) else f"{text} ± {row.seed_sd:.{digits}f}"


def _title(name: str, unit: str) -> str:
    found = CLASS_METRICS[name] if name not in METRICS else metric(name)
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


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
