import math

import pytest

from meddistill.errors import ConfigError
from meddistill.evaluation.compare import ComparisonTest
from meddistill.evaluation.margin import margin_tests


def judged(low, high, *, higher=True, seeds=(math.nan, math.nan), margin=0.01):
    test = ComparisonTest(
        "kd", "teacher", "dice", (low + high) / 2, low, high, 0.5, 0.5, 0.0, True, 40, *seeds
    )
    [found] = margin_tests([test], margin, higher)
    return found


@pytest.mark.parametrize(
    ("low", "high", "verdict", "equivalent"),
    [
        (-0.005, 0.004, "shown", True),
        (-0.005, 0.02, "shown", False),
        (0.02, 0.03, "shown", False),
        (-0.011, 0.004, "not shown", False),
        (-0.03, -0.009, "not shown", False),
        (-0.03, -0.011, "worse", False),
        (-0.01, 0.0, "not shown", False),
    ],
)
def test_the_interval_decides_in_the_good_direction_of_the_metric(low, high, verdict, equivalent):
    found = judged(low, high)
    assert (found.not_worse, found.equivalent, found.over_seeds) == (verdict, equivalent, False)
    assert (found.worst, found.best) == (low, high)
    mirrored = judged(-high, -low, higher=False)
    assert (mirrored.not_worse, mirrored.equivalent) == (verdict, equivalent)
    assert (mirrored.worst, mirrored.best) == (-low, -high)


def test_the_interval_over_seeds_is_taken_where_there_is_one():
    found = judged(-0.005, 0.004, seeds=(-0.03, 0.03))
    assert (found.not_worse, found.over_seeds, found.worst) == ("not shown", True, -0.03)
    assert found.words == "not worse by more than 0.01: not shown"
    assert found.counted == ", over seeds"


def test_without_an_interval_nothing_is_shown():
    found = judged(math.nan, math.nan)
    assert (found.not_worse, found.equivalent) == ("not shown", False)


def test_words_say_when_rows_are_the_same_within_the_margin():
    assert judged(-0.005, 0.004).words == "not worse by more than 0.01: shown, and the same within it"


@pytest.mark.parametrize("margin", [0.0, -0.01, math.nan, math.inf])
def test_a_margin_must_be_above_zero(margin):
    with pytest.raises(ConfigError, match="must be above 0"):
        judged(-0.1, 0.1, margin=margin)
