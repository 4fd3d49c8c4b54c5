"""Risk-coverage curves against the definition, order by order."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from meddistill.errors import DataError
from meddistill.evaluation.selective import CaseRanking, PixelRanking, RiskCoverage


def by_definition(uncertainty: list[float], risk: list[float]) -> list[float]:
    """Risk of the k most certain answers for k = 1..N, the mean over all orders of equal ones."""
    orders = [
        order
        for order in itertools.permutations(range(len(risk)))
        if all(uncertainty[a] <= uncertainty[b] for a, b in itertools.pairwise(order))
    ]
    curves = [np.cumsum([risk[i] for i in order]) / np.arange(1, len(risk) + 1) for order in orders]
    return np.mean(curves, axis=0).tolist()


answers = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.floats(0, 1)), min_size=1, max_size=6)


@given(answers)
@settings(max_examples=60)
def test_area_and_points_agree_with_the_definition(pairs):
    uncertainty, risk = (list(column) for column in zip(*pairs, strict=True))
    found, expected = RiskCoverage.of(uncertainty, risk), by_definition(uncertainty, risk)
    assert found.aurc() == pytest.approx(np.mean(expected), abs=1e-9)
    for kept, value in enumerate(expected, start=1):
        assert found.risk_of_rest(1 - kept / len(risk)) == pytest.approx(value, abs=1e-9)
    assert found.curve()["risk"] == pytest.approx(expected, abs=1e-9)


@given(answers, st.data())
@settings(max_examples=40)
def test_weights_count_an_answer_again_and_again(pairs, data):
    uncertainty, risk = (np.array(column) for column in zip(*pairs, strict=True))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(risk), max_size=len(risk))))
    weighted = RiskCoverage.of(uncertainty, risk, weights)
    repeated = RiskCoverage.of(np.repeat(uncertainty, weights), np.repeat(risk, weights))
    assert weighted.aurc() == pytest.approx(repeated.aurc(), nan_ok=True)
    assert weighted.risk_of_rest(0.3) == pytest.approx(repeated.risk_of_rest(0.3), nan_ok=True)


@given(answers)
@settings(max_examples=40)
def test_no_order_is_better_than_the_best(pairs):
    uncertainty, risk = (np.array(column) for column in zip(*pairs, strict=True))
    ranking = CaseRanking(uncertainty, risk, risk > 0.5)
    ones = np.ones(len(risk))
    best = min(np.mean(by_definition(list(order), list(risk))) for order in (uncertainty, risk))
    assert ranking.best(ones).aurc() <= ranking.by_uncertainty(ones).aurc() + 1e-12
    assert ranking.best(ones).aurc() == pytest.approx(best, abs=1e-9)


def test_useless_uncertainty_leaves_the_risk_as_it_is():
    found = RiskCoverage.of(np.ones(50), np.arange(50) % 5 == 0)
    assert found.aurc() == pytest.approx(0.2)
    assert [found.risk_of_rest(share) for share in (0, 0.1, 0.5)] == pytest.approx([0.2] * 3)


def test_referred_answers_are_rounded_up_and_the_rest_may_be_nothing():
    found = RiskCoverage.of([1, 2, 3, 4, 5], [0, 0, 0, 1, 1])
    assert [found.risk_of_rest(share) for share in (0, 0.01, 0.2, 0.21, 0.4)] == pytest.approx(
        [2 / 5, 1 / 4, 1 / 4, 0, 0]
    )
    assert math.isnan(found.risk_of_rest(1))
    nothing = RiskCoverage(np.zeros(3), np.zeros(3))
    assert math.isnan(nothing.aurc())
    assert nothing.curve() == {"coverage": [], "risk": []}


def pixels(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, PixelRanking]:
    """Case, cell and error of 400 pixels, and the same counted."""
    rng = np.random.default_rng(seed)
    case, cell = rng.integers(0, 3, 400), rng.integers(0, 8, 400)
    wrong = rng.random(400) < cell / 12
    every, errors = np.zeros((3, 8), np.int64), np.zeros((3, 8), np.int64)
    np.add.at(every, (case, cell), 1)
    np.add.at(errors, (case[wrong], cell[wrong]), 1)
    return case, cell, wrong, PixelRanking(every, errors)


@pytest.mark.parametrize("weights", [[1, 1, 1], [2, 0, 1]])
def test_counted_pixels_are_those_of_a_list(weights):
    case, cell, wrong, ranking = pixels()
    repeats = np.array(weights)[case]
    cell, wrong = np.repeat(cell, repeats), np.repeat(wrong, repeats)
    given_weights = np.array(weights, float)
    listed = RiskCoverage.of(cell, wrong)
    counted = ranking.by_uncertainty(given_weights)
    assert counted.aurc() == pytest.approx(listed.aurc())
    assert counted.risk_of_rest(0.1) == pytest.approx(listed.risk_of_rest(0.1))
    assert ranking.best(given_weights).aurc() == pytest.approx(RiskCoverage.of(wrong, wrong).aurc())
    assert ranking.error_rate(given_weights) == pytest.approx(wrong.mean())
    found = ranking.found(given_weights)
    assert found.auroc == pytest.approx(roc_auc_score(wrong, cell))
    assert found.aupr == pytest.approx(average_precision_score(wrong, cell))


@pytest.mark.parametrize(("uncertainty", "risk"), [([0.1], [0.1, 0.2]), ([math.nan], [0.0])])
def test_lists_that_do_not_fit_are_refused(uncertainty, risk):
    with pytest.raises(DataError, match="must be equally long and without NaN"):
        RiskCoverage.of(uncertainty, risk)
