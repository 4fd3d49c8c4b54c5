import numpy as np
import pytest

from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import bootstrap_ci, resampling
from meddistill.evaluation.resampling import resample

VALUES = np.random.default_rng(0).normal(size=40)
GROUPS = np.arange(40) // 3


def mean(weights):
    return (weights @ VALUES / weights.sum(axis=1))[:, None]


@pytest.mark.parametrize("groups", [np.arange(40), GROUPS])
def test_it_is_the_bootstrap_of_lists_of_values(groups):
    (low,), (high,) = resample(mean, groups=groups, resamples=400, seed=3).intervals(0.9)
    assert (low, high) == pytest.approx(bootstrap_ci(VALUES, groups=groups, resamples=400, seed=3, level=0.9))


def test_many_groups_get_a_percentile_interval(monkeypatch):
    monkeypatch.setattr(resampling, "JACKKNIFE_GROUPS", 10)
    drawn = resample(mean, groups=np.arange(40), resamples=300)
    assert drawn.jackknife is None
    expected = bootstrap_ci(VALUES, resamples=300, method="percentile")
    assert tuple(end[0] for end in drawn.intervals()) == pytest.approx(expected)


def test_groups_are_drawn_whole():
    seen = []
    resample(lambda samples: [[seen.append(one) or 0] for one in samples], groups=GROUPS, resamples=20)
    assert len(seen) == 1 + 20 + 14
    for weights in seen:
        assert all(len(set(weights[group == GROUPS])) == 1 for group in range(14))
    assert seen[1].sum() != 40 or seen[2].sum() != 40


def test_samples_in_which_a_number_is_undefined_are_left_out():
    few = np.zeros(12)
    few[:4] = 1.0

    def rare(weights):
        counts = weights[:, :4].sum(axis=1)
        return np.stack([np.where(counts > 0, counts, np.nan), np.full(len(weights), np.nan)], axis=1)

    drawn = resample(rare, groups=np.arange(12), resamples=200)
    (low, missing), (high, _) = drawn.intervals()
    assert 0 < low < high
    assert np.isnan(missing)
    assert np.isnan(drawn.p_values()[1])


def test_one_group_has_no_interval():
    drawn = resample(mean, groups=np.zeros(40), resamples=10)
    assert drawn.observed[0] == pytest.approx(VALUES.mean())
    assert np.isnan(drawn.intervals()).all()
    assert np.isnan(drawn.p_values()).all()


def test_p_is_small_where_all_samples_lie_on_one_side_and_one_where_nothing_differs():
    drawn = resample(lambda w: np.hstack([mean(w) + 5, 0 * mean(w), mean(w)]), groups=GROUPS, resamples=199)
    sure, nothing, doubtful = drawn.p_values()
    assert sure == pytest.approx(2 / 200)
    assert nothing == 1
    assert 0.02 < doubtful <= 1


def test_draws_can_be_seen_through_a_function():
    drawn = resample(lambda w: np.hstack([mean(w), np.ones_like(mean(w))]), groups=GROUPS, resamples=50)
    difference = drawn.map(lambda numbers: numbers[..., :1] - numbers[..., 1:])
    assert difference.observed == pytest.approx(VALUES.mean() - 1)
    assert difference.replicates.shape == (50, 1)
    assert difference.intervals()[0] == pytest.approx(drawn.intervals()[0][0] - 1)


def test_samples_in_blocks_are_those_of_one_block(monkeypatch):
    whole = resample(mean, groups=GROUPS, resamples=50)
    monkeypatch.setattr(resampling, "_BLOCK", 3 * len(VALUES))
    parts = resample(mean, groups=GROUPS, resamples=50)
    np.testing.assert_allclose(parts.replicates, whole.replicates)
    np.testing.assert_allclose(parts.jackknife, whole.jackknife)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match="resamples is 0"):
        resample(mean, groups=GROUPS, resamples=0)
    with pytest.raises(DataError, match="no cases to draw from"):
        resample(mean, groups=[])
