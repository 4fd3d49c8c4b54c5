import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import mean_ci
from meddistill.evaluation.mean_interval import GroupSums, draw_weights

RNG = np.random.default_rng(4)
VALUES, GROUPS = RNG.beta(5, 2, 40), RNG.integers(0, 12, 40)


def test_equals_the_studentised_interval_by_hand():
    """The t of every bootstrap sample, written out case by case, without a group of several cases."""
    values = np.random.default_rng(1).gamma(1.0, size=25)
    error = values.std(ddof=1) / 5
    data = GroupSums.of(values)
    centred = data.sums[0]  # in the order of the draws
    draws = np.random.default_rng(7).integers(0, 25, (400, 25))
    samples = centred[draws]
    t = (samples.mean(1) - values.mean()) / (samples.std(axis=1, ddof=0) * np.sqrt(1 / 24))
    tails, student = np.quantile(t, [0.025, 0.975]), scipy.stats.t.ppf([0.025, 0.975], 24)
    expected = values.mean() - error * np.array([max(tails[1], student[1]), min(tails[0], student[0])])
    assert mean_ci(values, resamples=400, seed=7) == pytest.approx(tuple(expected))


def test_standard_error_of_groups_of_one_size_is_that_of_their_means():
    values, groups = VALUES[:36], np.repeat(np.arange(12), 3)
    means = values.reshape(12, 3).mean(axis=1)
    assert GroupSums.of(values, groups).standard_error == pytest.approx(scipy.stats.sem(means))


def test_samples_of_unequal_groups_and_runs_have_the_right_mean_and_error():
    values = RNG.beta(5, 2, (3, 40))
    values[0, 3], values[1, :9] = np.nan, np.nan
    data = GroupSums.of(values, GROUPS)
    weights = draw_weights(np.random.default_rng(0), data.groups, 6)
    moved, errors = data._drawn(weights)
    for weight, found, error in zip(weights, moved, errors, strict=True):
        totals = data.counts @ weight
        means = data.sums @ weight / totals
        added = ((data.sums - means[:, None] * data.counts) / totals[:, None]).mean(axis=0)
        scale = data.groups / (data.groups - 1)
        assert found == pytest.approx(means.mean() - data.means.mean())
        assert error == pytest.approx(np.sqrt(scale * np.sum(weight * added**2)))


def test_never_narrower_than_students_t_and_longer_to_the_side_of_the_tail():
    error = GroupSums.of(VALUES, GROUPS).standard_error
    t = scipy.stats.t.ppf(0.975, len(set(GROUPS.tolist())) - 1)
    low, high = mean_ci(VALUES, groups=GROUPS)
    assert low <= VALUES.mean() - t * error + 1e-12
    assert high >= VALUES.mean() + t * error - 1e-12
    skewed = np.append(VALUES, [0.0, 0.0])
    low, high = mean_ci(skewed)
    assert skewed.mean() - low > high - skewed.mean()


def test_one_odd_score_does_not_close_an_end():
    low, high = mean_ci([1, 1, 1, 1, 1, 1, 0], bounds=(0, 1))
    assert low < 0.55
    assert high == 1.0


@pytest.mark.parametrize("groups", [2, 3])
def test_two_or_three_groups_have_students_interval(groups):
    values = RNG.normal(size=groups)
    expected = scipy.stats.t.interval(0.95, groups - 1, values.mean(), scipy.stats.sem(values))
    assert mean_ci(values) == pytest.approx(expected)


def test_cases_of_a_patient_are_not_independent():
    patients = np.random.default_rng(2).normal(size=20)
    values, groups = np.repeat(patients, 10), np.repeat(np.arange(20), 10)
    low, high = mean_ci(values, groups=groups)
    naive_low, naive_high = mean_ci(values)
    assert high - low > 2.5 * (naive_high - naive_low)
    assert (low, high) == pytest.approx(mean_ci(patients))


@settings(max_examples=25)
@given(seed=st.integers(0, 999), shift=st.floats(-2, 2), runs=st.integers(1, 3))
def test_order_names_and_a_shift_change_nothing_else(seed, shift, runs):
    rng = np.random.default_rng(seed)
    values, groups, order = rng.beta(5, 2, (runs, 24)), rng.integers(0, 9, 24), rng.permutation(24)
    low, high = mean_ci(values, groups=groups, resamples=200)
    assert mean_ci(values[:, order], groups=groups[order], resamples=200) == pytest.approx((low, high))
    assert mean_ci(values, groups=[f"p{9 - g}" for g in groups], resamples=200) == pytest.approx((low, high))
    moved = mean_ci(values + shift, groups=groups, resamples=200)
    assert moved == pytest.approx((low + shift, high + shift))


@settings(max_examples=30)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=20), seed=st.integers(0, 99))
@example(values=[0.0, 0.0, 2.9e-145], seed=0)
def test_the_mean_lies_in_the_interval_and_this_within_the_bounds(values, seed):
    low, high = mean_ci(values, resamples=100, seed=seed, bounds=(0.0, 1.0))
    assert 0 <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= 1


def test_many_groups_are_drawn_in_chunks_with_the_same_result(monkeypatch):
    whole = mean_ci(VALUES, resamples=300)
    monkeypatch.setattr("meddistill.evaluation.chunks.LARGEST", 40 * 7)
    assert mean_ci(VALUES, resamples=300) == pytest.approx(whole)


def test_runs_count_with_their_own_means():
    """What is averaged are the means of runs, also where a run lacks scores that another has."""
    values = np.array([[0.2, 0.4, 0.6, np.nan], [0.1, 0.3, np.nan, 0.9]])
    data = GroupSums.of(values)
    assert sorted(data.means.tolist()) == pytest.approx([0.4, 1.3 / 3])
    low, high = mean_ci(values)
    assert low < (0.4 + 1.3 / 3) / 2 < high


def test_undefined_scores_are_left_out():
    assert mean_ci([0.1, math.nan, 0.5, 0.4]) == pytest.approx(mean_ci([0.1, 0.5, 0.4]))
    for values, groups in (([math.nan, 0.5], None), ([0.4, 0.5], ["a", "a"]), ([0.4, math.inf, 0.1], None)):
        assert all(math.isnan(end) for end in mean_ci(values, groups=groups))
    assert all(math.isnan(end) for end in mean_ci([]))
    assert mean_ci([0.25, 0.25, 0.25]) == (0.25, 0.25)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"level 1\.5"):
        mean_ci([1, 2], level=1.5)
    with pytest.raises(DataError, match="one length"):
        mean_ci([1, 2], groups=["a"])


@pytest.mark.slow
def test_covers_skewed_scores_of_few_patients():
    rng, hits = np.random.default_rng(7), 0
    for trial in range(1500):
        values = np.exp(np.repeat(rng.normal(size=12), 2) / 2 + rng.normal(size=24) / 2)
        low, high = mean_ci(values, groups=np.repeat(np.arange(12), 2), resamples=400, seed=trial)
        hits += low <= np.exp(0.25) <= high
    assert 0.92 <= hits / 1500 <= 0.98
