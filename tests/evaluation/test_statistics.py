import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import bootstrap_ci, holm, mean_ci, paired_test, rank_biserial, sign_flip_p


@pytest.mark.parametrize(("method", "scipy_name"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_equals_scipy_without_groups(method, scipy_name, statistic):
    values = np.random.default_rng(3).beta(8, 2, 40)
    low, high = bootstrap_ci(values, statistic=statistic, method=method, resamples=999, seed=5, level=0.9)
    expected = scipy.stats.bootstrap(
        (values,),
        statistic,
        n_resamples=999,
        confidence_level=0.9,
        method=scipy_name,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_many_groups_are_drawn_in_chunks_with_the_same_result(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = bootstrap_ci(values, resamples=300)
    monkeypatch.setattr("meddistill.evaluation.chunks.LARGEST", 50 * 7)
    assert bootstrap_ci(values, resamples=300) == whole


def test_groups_of_one_change_nothing_and_their_names_do_not_matter():
    values = np.random.default_rng(1).normal(size=12)
    assert bootstrap_ci(values, groups=[f"p{i}" for i in range(12)]) == bootstrap_ci(values)
    groups = [i // 2 for i in range(12)]
    renamed = [f"patient {9 - group}" for group in groups]
    assert bootstrap_ci(values, groups=groups) == bootstrap_ci(values, groups=renamed)


def test_cases_of_a_patient_are_not_independent():
    patients = np.random.default_rng(2).normal(size=20)
    values, groups = np.repeat(patients, 10), np.repeat(np.arange(20), 10)
    low, high = bootstrap_ci(values, groups=groups)
    naive_low, naive_high = bootstrap_ci(values)
    assert high - low > 2.5 * (naive_high - naive_low)
    assert (low, high) == pytest.approx(bootstrap_ci(patients))


def test_groups_of_unequal_size_agree_between_the_fast_and_the_general_way():
    rng = np.random.default_rng(4)
    values, groups = rng.normal(size=30), rng.integers(0, 8, 30)
    general = bootstrap_ci(values, groups=groups, statistic=lambda array: array.mean(), resamples=400)
    assert bootstrap_ci(values, groups=groups, resamples=400) == pytest.approx(general)


def test_undefined_scores_are_left_out():
    assert bootstrap_ci([0.1, math.nan, 0.5, 0.4]) == bootstrap_ci([0.1, 0.5, 0.4])
    assert all(math.isnan(end) for end in bootstrap_ci([math.nan, 0.5]))
    assert all(math.isnan(end) for end in bootstrap_ci([0.4, 0.5], groups=["a", "a"]))
    assert bootstrap_ci([0.25, 0.25, 0.25]) == (0.25, 0.25)


@settings(max_examples=30)
@given(values=st.lists(st.floats(0, 1), min_size=3, max_size=20), seed=st.integers(0, 99))
@example(values=[0.0, 0.0, 2.9e-145], seed=0)
def test_interval_lies_within_the_values(values, seed):
    low, high = bootstrap_ci(values, resamples=100, seed=seed)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"level 1\.5"):
        bootstrap_ci([1, 2], level=1.5)
    with pytest.raises(ConfigError, match="did you mean 'bca'"):
        bootstrap_ci([1, 2], method="bca2")
    with pytest.raises(DataError, match="one length"):
        bootstrap_ci([1, 2], groups=["a"])
    with pytest.raises(DataError, match="differ in length: 2 and 3"):
        paired_test([1, 2], [1, 2, 3])


@pytest.mark.slow
def test_coverage_of_the_grouped_interval():
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(1500):
        patients = rng.normal(size=30)
        values = np.repeat(patients, 3) + rng.normal(scale=0.3, size=90)
        low, high = bootstrap_ci(values, groups=np.repeat(np.arange(30), 3), resamples=500, seed=trial)
        hits += low <= 0 <= high
    assert 0.91 <= hits / 1500 <= 0.97


def test_paired_test_equals_scipy():
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=25), rng.normal(size=25)
    result = paired_test(a, b)
    assert result.p_value == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)
    assert result.mean_difference == pytest.approx((a - b).mean())
    assert (result.low, result.high) == mean_ci(a - b)
    assert result.p_sign_flip == sign_flip_p(a - b)
    assert (result.cases, result.groups) == (25, 25)


@given(shift=st.floats(-3, 3), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_neither_the_order_of_cases_nor_a_shift_of_both_rows_matters(shift, seed):
    rng = np.random.default_rng(seed)
    a, b, groups, order = (
        rng.normal(size=20),
        rng.normal(size=20),
        rng.integers(0, 8, 20),
        rng.permutation(20),
    )
    found = paired_test(a, b, groups=groups, resamples=100)
    moved = paired_test(a[order] + shift, b[order] + shift, groups=groups[order], resamples=100)
    assert (moved.cases, moved.groups) == (20, len(set(groups.tolist())))
    for name in ("mean_difference", "low", "high", "p_value", "p_sign_flip", "effect_size"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name), abs=1e-9), name


def test_paired_test_leaves_out_pairs_with_an_undefined_score():
    a, b = [0.9, 0.8, math.nan, 0.7, 0.6], [0.5, math.nan, 0.4, 0.6, 0.3]
    assert paired_test(a, b) == paired_test([0.9, 0.7, 0.6], [0.5, 0.6, 0.3])


def test_equal_scores_have_p_of_one():
    result = paired_test([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (result.p_value, result.p_sign_flip) == (1.0, 1.0)
    assert (result.effect_size, result.mean_difference) == (0.0, 0.0)
    assert (result.low, result.high) == (0.0, 0.0)


def test_no_pairs_give_no_verdict():
    result = paired_test([math.nan], [0.5])
    assert result.cases == 0
    assert math.isnan(result.p_value)
    assert math.isnan(result.p_sign_flip)
    assert math.isnan(result.effect_size)
    assert math.isnan(result.mean_difference)


def test_many_cases_of_one_patient_do_not_make_a_result():
    groups = np.repeat(np.arange(4), 25)
    a = np.random.default_rng(9).normal(size=100) + 1.0
    assert paired_test(a, np.zeros(100)).p_value < 1e-6
    assert paired_test(a, np.zeros(100), groups=groups).p_value == 0.125  # the least that 4 patients can show


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=15))
def test_effect_size_is_antisymmetric_and_bounded(differences):
    effect = rank_biserial(differences)
    assert -1 <= effect <= 1
    assert rank_biserial([-value for value in differences]) == pytest.approx(-effect)


def test_effect_size_by_hand():
    assert rank_biserial([1, 2, 3, -4]) == pytest.approx((6 - 4) / 10)
    assert rank_biserial([0.2, 0.1, 5]) == 1.0


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.5, 0.001, 0.9]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([]) == []


def test_holm_ignores_tests_that_were_not_possible():
    adjusted = holm([0.02, math.nan, 0.04])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert np.all(np.diff(np.array(adjusted)[np.argsort(p_values)]) >= 0)
