"""Is a row not worse than the baseline by more than a margin? The interval of the difference answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meddistill.errors import ConfigError

if TYPE_CHECKING:
    from meddistill.evaluation.compare import ComparisonTest

Verdict = Literal["shown", "not shown", "worse"]


@dataclass(frozen=True)
class MarginTest:
    """Whether a row is not worse than another by more than a margin (non-inferiority).

    Args:
        row: the row under test.
        against: the row it is compared with.
        metric: name of the metric.
        margin: the loss that does not matter, in the metric's unit.
        worst: the end of the difference's 95 % interval that is worse for the row.
        best: the better end.
        over_seeds: whether the interval counts the seeds, too.
        not_worse: `shown` when even `worst` loses less than the margin, `worse` when even `best` loses more,
            else `not shown`.
        equivalent: whether the whole interval lies within the margin to both sides.
    """

    row: str
    against: str
    metric: str
    margin: float
    worst: float
    best: float
    over_seeds: bool
    not_worse: Verdict
    equivalent: bool

    @property
    def words(self) -> str:
        """The verdict in words."""
        same = ", and the same within it" if self.equivalent else ""
        return f"not worse by more than {self.margin:g}: {self.not_worse}{same}"

    @property
    def counted(self) -> str:
        """What the interval counts beside cases."""
        return ", over seeds" if self.over_seeds else ""


def check_margin(margin: float) -> float:
    """The margin, if it is one.

    Raises:
        ConfigError: it is not above 0.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin {margin} must be above 0, in the metric's unit: 0.01 is one Dice point")
    return margin


def margin_tests(tests: Sequence[ComparisonTest], margin: float, higher_is_better: bool) -> list[MarginTest]:
    """Judge each test of one metric by the interval of its difference, over seeds where there are several.

    The 95 % interval stands for a one-sided test at 2.5 % on each side (TOST; Schuirmann 1987). Tests are not
    corrected for their number.

    Args:
        tests: paired tests of the metric.
        margin: see `MarginTest`.
        higher_is_better: direction of the metric.

    Raises:
        ConfigError: the margin is not above 0.

    Example:
        >>> from meddistill.evaluation.compare import ComparisonTest
        >>> test = ComparisonTest("kd", "teacher", "dice", -0.002, -0.007, 0.003, 0.5, 0.5, -0.1, False, 40)
        >>> margin_tests([test], 0.01, higher_is_better=True)[0].not_worse
        'shown'
    """
    check_margin(margin)
    return [_judged(test, margin, 1.0 if higher_is_better else -1.0) for test in tests]


def _judged(test: ComparisonTest, margin: float, sign: float) -> MarginTest:
    over_seeds = math.isfinite(test.seeds_low)
    low, high = (test.seeds_low, test.seeds_high) if over_seeds else (test.low, test.high)
    worst, best = (low, high) if sign > 0 else (-high, -low)
    return MarginTest(
        row=test.row,
        against=test.against,
        metric=test.metric,
        margin=margin,
        worst=sign * worst,
        best=sign * best,
        over_seeds=over_seeds,
        not_worse="shown" if worst > -margin else "worse" if best < -margin else "not shown",
        equivalent=worst > -margin and best < margin,
    )
