"""What a comparison says, in the sentences at the head of its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meddistill.report.comparison_tables import against_baseline, reading
from meddistill.report.numbers import metric, p_value, signed, signed_interval

if TYPE_CHECKING:
    from meddistill.evaluation.compare import Comparison, ComparisonTest
    from meddistill.evaluation.margin import MarginTest

MOST = 8
"""Rows with a sentence each; more are named together by what is said of them."""

_ORDER = ("better", "better with these seeds", "no clear difference", "worse with these seeds", "worse")
"""What `reading` may say of a row, as it is listed."""


def sentences(comparison: Comparison) -> list[str]:
    """What the tests on the first metric say of each row, then the margin's verdicts.

    Up to `MOST` rows have a sentence each, with interval and p-value. Of more there is one for all that are
    better, one for all that are worse, and so on, the largest differences first.
    """
    first = comparison.metrics[0] if comparison.metrics else ""
    found = [test for test in against_baseline(comparison).values() if test.metric == first]
    of_rows = _together(found) if len(found) > MOST else map(_alone, found)
    return [*of_rows, *map(_margin, comparison.margins)]


def _alone(test: ComparisonTest) -> str:
    ends = signed_interval(test.low, test.high, test.metric)
    difference = signed(test.mean_difference, test.metric)
    return f"{test.row}: {_words(test)} ({difference}, 95 % CI {ends}, Holm p {p_value(test.p_mean_holm)})."


def _together(tests: Sequence[ComparisonTest]) -> Iterator[str]:
    by_size = sorted(tests, key=lambda test: -abs(test.mean_difference))
    for words in _ORDER:
        found = [test for test in by_size if reading(test) == words]
        if found:
            said = _words(found[0])
            rows = ", ".join(f"{test.row} ({signed(test.mean_difference, test.metric)})" for test in found)
            yield f"{said[0].upper()}{said[1:]}: {rows}."


def _words(test: ComparisonTest) -> str:
    """What its test says of a row, such as "better than iid in Dice"."""
    name, words = metric(test.metric).label, reading(test)
    if not test.significant:
        return f"{words} from {test.against} in {name}"
    word, _, seeds = words.partition(" ")
    return f"{word} than {test.against} in {name}" + (f" {seeds}" if seeds else "")


def _margin(found: MarginTest) -> str:
    ends = signed_interval(found.worst, found.best, found.metric)
    name = metric(found.metric).label
    return f"{found.row} against {found.against} in {name}: {found.words} (95 % CI {ends}{found.counted})."
