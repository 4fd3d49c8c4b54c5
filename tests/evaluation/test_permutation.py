import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import sign_flip_p
from meddistill.evaluation.permutation import EXACT_GROUPS


@pytest.mark.parametrize("count", [2, 5, 9])
def test_equals_scipy_when_exact(count):
    differences = np.random.default_rng(count).normal(0.4, size=count)
    expected = scipy.stats.permutation_test(
        (differences, np.zeros(count)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_drawn_choices_come_near_the_exact_share(monkeypatch):
    differences = np.random.default_rng(3).normal(0.4, size=12)
    exact = sign_flip_p(differences)
    monkeypatch.setattr("meddistill.evaluation.permutation.EXACT_GROUPS", 3)
    monkeypatch.setattr("meddistill.evaluation.chunks.LARGEST", 12 * 1000)
    assert sign_flip_p(differences, resamples=20_000) == pytest.approx(exact, abs=0.01)


def test_a_group_changes_its_sign_as_a_whole_and_counts_with_its_cases():
    differences, groups = [0.1, 0.3, -0.2, 0.6], ["a", "a", "b", "c"]
    assert sign_flip_p(differences, groups=groups) == sign_flip_p([0.4, -0.2, 0.6])
    many = np.random.default_rng(9).normal(1.0, size=100)
    assert sign_flip_p(many) == 1 / 10_000
    assert sign_flip_p(many, groups=np.repeat(np.arange(4), 25)) == 2 / 2**4


@settings(max_examples=30)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=EXACT_GROUPS - 4), st.randoms())
def test_is_a_share_that_order_sign_and_unit_do_not_change(differences, random):
    p = sign_flip_p(differences)
    shuffled = list(differences)
    random.shuffle(shuffled)
    assert 2 / 2 ** len(differences) <= p <= 1
    assert sign_flip_p(shuffled) == sign_flip_p([-x for x in differences]) == p
    assert sign_flip_p([0.1 * x for x in differences]) == p


def test_equal_rows_and_no_pairs():
    assert sign_flip_p([0.0] * 30) == 1.0
    assert sign_flip_p([0.3, math.nan]) == 1.0
    assert math.isnan(sign_flip_p([math.nan]))


def test_misuse_is_refused():
    with pytest.raises(ConfigError, match="resamples is 0"):
        sign_flip_p([0.1], resamples=0)
    with pytest.raises(DataError, match="one length"):
        sign_flip_p([0.1, 0.2], groups=["a"])
