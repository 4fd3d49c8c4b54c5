"""The area under the ROC curve and average precision, against their definitions and another library."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_roc

from meddistill.evaluation.ranking import Ranking

SCORES = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25)


def by_pairs(scores, positive, weights):
    """The share of pairs of a positive and a negative in which the positive has the higher score."""
    won = total = 0.0
    for a, is_positive, w in zip(scores, positive, weights, strict=True):
        for b, other, v in zip(scores, positive, weights, strict=True):
            if is_positive and not other:
                won += w * v * (1.0 if a > b else 0.5 if a == b else 0.0)
                total += w * v
    return won / total if total else math.nan


@given(SCORES)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows):
    scores, positive, weights = zip(*rows, strict=True)
    found = Ranking(scores, positive).auroc(np.array(weights, float))
    assert found == pytest.approx(by_pairs(scores, positive, weights), nan_ok=True)


@given(SCORES)
def test_a_weight_of_n_is_n_copies(rows):
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    whole = Ranking(scores, positive)
    copied = Ranking(np.repeat(scores, weights), np.repeat(positive, weights))
    assert whole.auroc(weights) == pytest.approx(copied.auroc(), nan_ok=True)
    assert whole.average_precision(weights) == pytest.approx(copied.average_precision(), nan_ok=True)


@given(SCORES)
def test_many_samples_are_ranked_at_once(rows):
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    samples = np.stack([weights, np.zeros_like(weights), weights[::-1]])
    ranking = Ranking(scores, positive)
    for score in (ranking.auroc, ranking.average_precision):
        assert score(samples).tolist() == pytest.approx([float(score(one)) for one in samples], nan_ok=True)


@given(SCORES)
def test_only_the_order_of_the_scores_matters(rows):
    scores, positive, _ = (np.array(column) for column in zip(*rows, strict=True))
    stretched = Ranking(np.exp(scores / 3), positive)
    assert stretched.auroc() == pytest.approx(Ranking(scores, positive).auroc(), nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 6])
def test_it_agrees_with_torchmetrics(seed, digits):
    rng = np.random.default_rng(seed)
    positive = rng.random(80) < 0.3
    scores = (rng.random(80) * 0.6 + 0.3 * positive).round(digits)
    ranking, p, y = Ranking(scores, positive), torch.from_numpy(scores), torch.from_numpy(positive).long()
    assert ranking.auroc() == pytest.approx(float(binary_auroc(p, y)))
    assert ranking.average_precision() == pytest.approx(float(binary_average_precision(p, y)))
    curve, (fpr, tpr, _) = ranking.curve(), binary_roc(p, y)
    assert np.allclose(curve.false_positive_rate, fpr.numpy())
    assert np.allclose(curve.true_positive_rate, tpr.numpy())


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_kind_alone_has_no_auroc(positive):
    ranking = Ranking([0.1, 0.9], positive)
    assert math.isnan(ranking.auroc())
    assert ranking.curve() is None
    assert math.isnan(ranking.average_precision()) == (not positive[0])


def test_unknown_images_do_not_count():
    known = [True, True, False, True]
    ranking = Ranking([0.9, 0.3, 0.99, 0.5], [True, False, False, True], known)
    assert ranking.auroc() == 1
    assert ranking.auroc(np.array([1.0, 1.0, 50.0, 1.0])) == 1
    assert math.isnan(Ranking([0.1], [True], [False]).average_precision())
