"""A fine histogram of scores in 0..1: what orders of whole data sets are read from, in constant memory.

Cells are equally wide in the log-odds of the score, so that they are finest near 0 and 1, where the
confidences of dense predictions crowd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meddistill.errors import DataError

CELLS = 8192
"""Cells of a histogram of a whole set: 0.001 wide at a score of one half, finer everywhere else."""

_REACH = 17.5
"""Log-odds at both ends; single precision tells no probability from 1 beyond them."""
_SLACK = 1e-4
"""By how much rounding may carry a score beyond 1."""


class FineHistogram:
    """How many scores lie in each cell, how many of them are hits, and the sum of the scores there.

    Args:
        cells: C, their number.

    Example:
        >>> histogram = FineHistogram()
        >>> histogram.update(torch.tensor([0.2, 0.9, 0.9]), torch.tensor([False, True, False]))
        >>> histogram.total, int(histogram.hits.sum()), round(float(histogram.score_sum.max()), 2)
        (3, 1, 1.8)
    """

    def __init__(self, cells: int = CELLS) -> None:
        self.cells = cells
        self.counts = torch.zeros(cells, dtype=torch.int64)
        """(C,) scores by cell, from low to high."""
        self.hits = torch.zeros(cells, dtype=torch.int64)
        """(C,) hits by cell."""
        self.score_sum = torch.zeros(cells, dtype=torch.float64)
        """(C,) sum of the scores by cell."""

    def update(self, scores: Tensor, hits: Tensor) -> None:
        """Count scores (any shape, 0..1) and whether each is a hit (same shape).

        Raises:
            DataError: a score is not in 0..1.
        """
        scores = scores.detach().flatten().cpu().double()
        if not bool(((scores >= 0) & (scores <= 1 + _SLACK)).all()):
            raise DataError("a score is not in 0..1: give probabilities of finite logits")
        index = self._cell_of(scores)
        self.counts += index.bincount(minlength=self.cells)
        self.hits += index[hits.detach().flatten().cpu()].bincount(minlength=self.cells)
        self.score_sum += index.bincount(scores, minlength=self.cells)

    def _cell_of(self, scores: Tensor) -> Tensor:
        odds = scores.clamp(0, 1).logit().clamp(-_REACH, _REACH)
        return ((odds / (2 * _REACH) + 0.5) * self.cells).long().clamp(max=self.cells - 1)

    @property
    def total(self) -> int:
        """Number of scores counted so far."""
        return int(self.counts.sum())
