"""Estimates of what uncertainty is worth, with intervals by group."""

import json

import numpy as np
import pytest

from meddistill.errors import DataError
from meddistill.evaluation.selective import CaseRanking, PixelRanking
from meddistill.evaluation.selective_summary import NUMBERS, summarise_selective


def cases(count: int = 40) -> CaseRanking:
    """Cases whose uncertainty follows their risk, with noise."""
    rng = np.random.default_rng(1)
    risk = rng.random(count)
    return CaseRanking(risk + rng.normal(0, 0.15, count), risk, risk > 0.6)


def test_estimates_are_those_of_the_ranking_and_lie_in_their_intervals():
    ranking, ones = cases(), np.ones(40)
    found = summarise_selective(ranking, groups=np.arange(40), resamples=300)
    assert found["auroc"]["mean"] == ranking.found(ones).auroc
    assert found["aurc"]["mean"] == pytest.approx(ranking.by_uncertainty(ones).aurc())
    assert found["error_rate"]["mean"] == pytest.approx(ranking.wrong.mean())
    for name in NUMBERS:
        assert found[name]["low"] <= found[name]["mean"] <= found[name]["high"], name
    scores = [row["mean"] for row in found["refer"]]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(1 - ranking.risk.mean())
    kept = ranking.uncertainty.argsort()[:36]
    assert scores[2] == pytest.approx(1 - ranking.risk[kept].mean())
    assert json.loads(json.dumps(found)) == found


def test_intervals_are_over_groups_not_cases():
    """Ten copies of each case in one group say no more than the case itself."""
    few = cases(12)
    many = CaseRanking(*(np.repeat(part, 10) for part in (few.uncertainty, few.risk, few.wrong)))
    once = summarise_selective(few, groups=np.arange(12), shares=(0.0,), resamples=200)
    copied = summarise_selective(many, groups=np.repeat(np.arange(12), 10), shares=(0.0,), resamples=200)
    assert copied["refer"] == [pytest.approx(row) for row in once["refer"]]


def test_a_single_group_has_no_interval_and_no_error_has_no_area():
    ranking = PixelRanking(np.array([[5, 5]]), np.zeros((1, 2), np.int64))
    found = summarise_selective(ranking, groups=["a"])
    assert found["auroc"] == {"mean": None, "low": None, "high": None}
    assert found["refer"][0] == {"share": 0.0, "mean": 1.0, "low": None, "high": None}


def test_no_cases_are_refused():
    nothing = CaseRanking(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    with pytest.raises(DataError, match="no cases"):
        summarise_selective(nothing, groups=[])
