import math

import numpy as np
import pytest

from meddistill.errors import ConfigError
from meddistill.evaluation import METRICS, ScoreTable
from meddistill.evaluation.metrics import case_values, metric, nanmean

from .tables import row, table

STATES = ScoreTable.from_rows(
    [
        row("ok", 0.8),
        row("empty", state="both_empty"),
        row("missed", state="missed"),
        row("alarm", state="false_alarm"),
    ]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dice", [0.8, math.nan, 0.0, 0.0]),
        ("dice_both_empty_1", [0.8, 1.0, 0.0, 0.0]),
        ("hd95", [2.0, math.nan, 100.0, 100.0]),
        ("hd95_detected", [2.0, math.nan, math.nan, math.nan]),
        ("nsd", [0.8, math.nan, 0.0, 0.0]),
        ("ece", [0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_policy_of_each_state(name, expected):
    np.testing.assert_array_equal(case_values(STATES, name).values, expected)


def test_every_metric_has_a_direction_and_a_value_for_every_row():
    assert {name for name, found in METRICS.items() if not found.higher_is_better} == {
        "hd95",
        "hd95_detected",
        "asd",
        "ece",
        "nll",
        "brier",
        "ravd",
        "avd",
    }
    assert all(len(found.rows(STATES)) == 4 for found in METRICS.values())


def test_cases_keep_their_order_and_average_their_defined_classes():
    rows = [
        row("z", 0.4, label="a", group="p"),
        row("z", 0.6, label="b", group="p"),
        row("b", 0.3, label="a", group="q"),
        row("b", state="both_empty", label="b", group="q"),
        row("a", state="both_empty", label="a", group="p"),
        row("a", state="both_empty", label="b", group="p"),
    ]
    cases, groups, values = case_values(ScoreTable.from_rows(rows), "dice")
    assert cases.tolist() == ["z", "b", "a"]
    assert groups.tolist() == ["p", "q", "p"]
    np.testing.assert_allclose(values, [0.5, 0.3, math.nan])


def test_nothing_gives_nothing():
    assert len(case_values(table([]), "dice").values) == 0
    assert math.isnan(nanmean(np.array([])))


def test_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dice'"):
        metric("dise")
