import numpy as np
import pytest
import scipy.stats

from meddistill.evaluation.mean_interval import GroupSums
from meddistill.evaluation.seeds import over_seeds, seed_half_width


def test_half_width_is_students_interval_of_the_runs():
    runs = np.array([0.80, 0.83, 0.81])
    low, high = scipy.stats.t.interval(0.95, 2, runs.mean(), scipy.stats.sem(runs))
    assert seed_half_width(runs) == pytest.approx((high - low) / 2)


def test_one_run_says_nothing_of_seeds():
    assert np.isnan(seed_half_width(np.array([0.8])))
    assert all(np.isnan(over_seeds(0.8, 0.7, 0.9, np.nan)))
    assert all(np.isnan(over_seeds(0.8, np.nan, np.nan, 0.1)))


def test_the_variance_of_what_cases_do_to_single_runs_is_taken_off():
    """By the two-way table of runs and cases: its residual mean square, over the number of cases."""
    scores = np.random.default_rng(0).normal(size=(3, 20)) + np.array([[0.0], [1.0], [2.0]])
    data = GroupSums.of(scores)
    residual = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    by_cases = np.sum(residual**2) / (2 * 19) / 20
    expected = scipy.stats.t.ppf(0.975, 2) * np.sqrt((scores.mean(axis=1).var(ddof=1) - by_cases) / 3)
    assert seed_half_width(data.means, data.leave_one_out) == pytest.approx(expected)


def test_runs_that_differ_by_cases_alone_add_nothing():
    scores = np.array([[0.9, 0.1, 0.5, 0.5], [0.1, 0.9, 0.5, 0.5]])
    data = GroupSums.of(scores)
    assert seed_half_width(data.means, data.leave_one_out) == 0.0


def test_what_all_cases_share_is_kept():
    cases = np.random.default_rng(1).normal(size=30)
    data = GroupSums.of(cases + np.array([[0.0], [0.1], [0.2]]))
    assert seed_half_width(data.means, data.leave_one_out) == pytest.approx(seed_half_width(data.means))


def test_distances_add_up_squared_on_each_side():
    low, high = over_seeds(0.8, 0.76, 0.83, 0.03)
    assert (low, high) == pytest.approx((0.8 - 0.05, 0.8 + np.hypot(0.03, 0.03)))
    assert over_seeds(0.8, 0.76, 0.83, 0.0) == pytest.approx((0.76, 0.83))
    assert over_seeds(0.8, 0.8, 0.8, 0.03, 0.04) == pytest.approx((0.75, 0.85))
