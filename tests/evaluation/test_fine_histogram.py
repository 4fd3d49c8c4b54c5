"""Scores counted in fine cells."""

import pytest
import torch

from meddistill.errors import DataError
from meddistill.evaluation.fine_histogram import FineHistogram


def test_cells_keep_the_order_and_lie_close_together():
    scores = torch.cat([torch.zeros(1), torch.logspace(-7, -0.31, 200), torch.ones(1)])
    scores = torch.cat([scores, 1 - scores]).sort().values
    histogram = FineHistogram()
    histogram.update(scores, scores > 2)
    filled = histogram.counts > 0
    means = histogram.score_sum[filled] / histogram.counts[filled]
    assert bool((means.diff() > 0).all())
    index = histogram._cell_of(scores.double())
    assert bool((index.diff() >= 0).all())
    close = (means[filled.cumsum(0)[index] - 1] - scores).abs()
    assert float(close.max()) < 1.1e-3


def test_sums_are_those_of_the_scores():
    generator = torch.Generator().manual_seed(0)
    scores, hits = torch.rand(3, 50, generator=generator), torch.rand(3, 50, generator=generator) > 0.5
    histogram = FineHistogram(cells=64)
    for row, hit in zip(scores, hits, strict=True):
        histogram.update(row, hit)
    assert (histogram.total, int(histogram.hits.sum())) == (150, int(hits.sum()))
    assert float(histogram.score_sum.sum()) == pytest.approx(float(scores.double().sum()))


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_what_is_not_in_0_to_1_is_refused(score: float):
    with pytest.raises(DataError, match="is not in"):
        FineHistogram().update(torch.tensor([score]), torch.tensor([True]))
