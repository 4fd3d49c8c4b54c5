"""Means over corruptions against hand computations and against `compare_runs`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meddistill.errors import RunError
from meddistill.evaluation import compare_runs, mean_ci
from meddistill.evaluation.corrupted import PointScores, headline, linear_values, summarise_corruptions
from tests.evaluation.tables import table

GROUPS = np.array(["a", "b", "c", "d"])
CLEAN = ("clean", 0)
POINTS = [("fog", 1), ("fog", 3), ("snow", 1), ("snow", 3)]


def row(offset: float, *, seeds: int = 1) -> PointScores:
    """Scores that fall with severity, a little differently in each case and seed."""
    cases, runs = np.array([0.0, 0.04, 0.1, 0.02]), np.linspace(0, 0.06, seeds)[:, None]
    fall = {CLEAN: 0.0, ("fog", 1): 0.1, ("fog", 3): 0.3, ("snow", 1): 0.2, ("snow", 3): 0.5}
    return PointScores({point: 0.8 + offset - by - cases + runs for point, by in fall.items()}, GROUPS)


def test_means_are_taken_over_kinds_severities_and_cases():
    found = summarise_corruptions({"iid": row(0.0), "kd": row(0.05)}, "dice")
    assert found.kinds == ("fog", "snow")
    assert found.severities == (1, 3)
    assert found.of("iid", "clean", 0).mean == pytest.approx(0.76)
    assert found.of("iid", severity=1).mean == pytest.approx(0.76 - 0.15)
    assert found.of("iid", "snow").mean == pytest.approx(0.76 - 0.35)
    assert found.of("iid").mean == pytest.approx(0.76 - 0.275)
    assert found.relative["iid"] == pytest.approx((0.76 - 0.275) / 0.76)


def test_the_corruption_error_is_that_of_the_paper():
    """For each kind the sum of errors over severities by the baseline's; then the mean over kinds."""
    found = summarise_corruptions({"iid": row(0.0), "kd": row(0.05)}, "dice")
    errors = {
        kind: [1 - 0.76 + by for by in falls] for kind, falls in (("fog", (0.1, 0.3)), ("snow", (0.2, 0.5)))
    }
    by_hand = np.mean(
        [sum(e - 0.05 for e in found_errors) / sum(found_errors) for found_errors in errors.values()]
    )
    assert found.corruption_error["kd"] == pytest.approx(by_hand)
    assert found.corruption_error["iid"] == pytest.approx(1)


def test_intervals_and_differences_are_those_of_the_tools_used_everywhere():
    rng = np.random.default_rng(0)
    values = {point: rng.random((2, 3, 12)) for point in [CLEAN, *POINTS]}
    groups = np.repeat(np.arange(6).astype(str), 2)
    a, b = (
        PointScores({point: scores[index] for point, scores in values.items()}, groups) for index in (0, 1)
    )
    found = summarise_corruptions({"a": a, "b": b}, "dice")
    mean = found.of("b", "snow")
    expected = np.mean([values["snow", 1][1], values["snow", 3][1]], axis=0)
    assert (mean.low, mean.high) == pytest.approx(mean_ci(expected, groups=groups, bounds=(0, 1)))
    assert mean.difference == pytest.approx(mean.mean - found.of("a", "snow").mean)
    assert mean.difference_low < mean.difference < mean.difference_high
    assert mean.seeds_low <= mean.low
    assert np.isnan(found.of("a").difference)


def test_one_kind_in_one_severity_is_compared_as_compare_runs_does():
    tables = {"a": table((0.2, 0.5, 0.7, 0.1, 0.6)), "b": table((0.4, 0.6, 0.7, 0.4, 0.9))}
    rows = {}
    for name, scores in tables.items():
        _, cases = headline(scores)
        rows[name] = PointScores({CLEAN: cases.values[None], ("fog", 2): cases.values[None]}, cases.groups)
    mean = summarise_corruptions(rows, "dice").of("b", "fog")
    compared = compare_runs(tables, baseline="a", metrics=["dice"])
    [test] = compared.tests
    [other] = [found for found in compared.rows if found.row == "b"]
    assert (mean.mean, mean.low, mean.high) == pytest.approx((other.mean, other.low, other.high))
    assert mean.difference == pytest.approx(test.mean_difference)
    assert (mean.difference_low, mean.difference_high) == pytest.approx((test.low, test.high))
    assert mean.p_holm == test.p_sign_flip_holm


@given(arrays(float, (3, 5), elements=st.one_of(st.floats(0, 1), st.just(np.nan))))
def test_linear_values_keep_the_mean_of_means(values):
    found = linear_values(values)
    defined = values[~np.isnan(values).all(axis=1)]
    if not len(defined):
        assert np.isnan(found).all()
        return
    assert found.mean() == pytest.approx(np.nanmean(defined, axis=1).mean(), abs=1e-9)


def test_rows_of_other_cases_are_refused():
    other = PointScores(row(0).values, GROUPS[::-1])
    with pytest.raises(RunError, match="scored on different cases"):
        summarise_corruptions({"a": row(0), "b": other}, "dice")


def test_the_csv_has_a_line_for_each_mean():
    found = summarise_corruptions({"iid": row(0.0), "kd": row(0.05)}, "dice")
    lines = found.to_csv().splitlines()
    assert len(lines) == 1 + len(found.means) == 1 + 2 * (1 + 1 + 2 + 2)
    assert lines[1].startswith("iid,clean,0,0.7")
