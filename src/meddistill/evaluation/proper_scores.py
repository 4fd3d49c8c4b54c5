"""Proper scores of probabilities, pixel by pixel: negative log-likelihood and Brier score.

Source: Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation" (JASA 2007), section
3.1, examples 1 and 3. Both are lowest in expectation when the probabilities are the true ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.evaluation.reliability import check_shapes


class PixelScores(NamedTuple):
    """Scores (B, *S) of every pixel, 0 where it has no label.

    Args:
        nll: negative log-likelihood of the truth, in nats.
        brier: squared error of the probabilities, summed over the classes, 0..2.
    """

    nll: Tensor
    brier: Tensor


def pixel_scores(log_probabilities: Tensor, labels: Tensor) -> PixelScores:
    """Both scores of every pixel.

    Args:
        log_probabilities: (B, K, *S), or (B, K), as `log_softmax` gives them.
        labels: (B, *S) integers; `IGNORE_INDEX` where unknown.

    Example:
        >>> nll, brier = pixel_scores(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([1]))
        >>> round(float(nll), 4), round(float(brier), 4)
        (0.2877, 0.125)
    """
    unknown = labels == IGNORE_INDEX
    log_truth = log_probabilities.gather(1, labels.masked_fill(unknown, 0).unsqueeze(1)).squeeze(1)
    # The sum over the classes of (p - y)^2, with y = 1 for the true class: |p|^2 - 2 p_true + 1.
    brier = log_probabilities.exp().square().sum(dim=1) - 2 * log_truth.exp() + 1
    return PixelScores(-log_truth.masked_fill(unknown, 0), brier.masked_fill(unknown, 0))


def two_classes(logits: Tensor) -> Tensor:
    """Logits (B, 2, L) whose softmax is the sigmoid of the logits (B, L) of labels that exclude nothing.

    Example:
        >>> two_classes(torch.tensor([[2.0, -1.0]])).tolist()
        [[[0.0, 0.0], [2.0, -1.0]]]
    """
    return torch.stack([torch.zeros_like(logits), logits], dim=1)


def brier_score(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over labelled pixels of the squared error of the probabilities, summed over the classes.

    Args:
        probabilities: (B, K, *S) or (B, K), values in 0..1.
        labels: (B, *S) or (B,) integers; pixels of `IGNORE_INDEX` do not count.

    Returns:
        A number in 0..2; NaN when no pixel is labelled.

    Raises:
        DataError: the shapes disagree.

    Example:
        >>> brier_score(torch.tensor([[0.25, 0.75], [1.0, 0.0]]), torch.tensor([1, 0]))
        0.0625
    """
    return _mean_scores(probabilities, labels)[1]


def negative_log_likelihood(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over labelled pixels of -log p of the true class, in nats.

    Args:
        probabilities: (B, K, *S) or (B, K), values in 0..1; those below the smallest normal number of their
            type count as that.
        labels: (B, *S) or (B,) integers; pixels of `IGNORE_INDEX` do not count.

    Returns:
        A number above 0; NaN when no pixel is labelled.

    Raises:
        DataError: the shapes disagree.

    Example:
        >>> round(negative_log_likelihood(torch.tensor([[0.25, 0.75]]), torch.tensor([1])), 4)
        0.2877
    """
    return _mean_scores(probabilities, labels)[0]


def _mean_scores(probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    check_shapes(probabilities, labels)
    logs = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
    known = int((labels != IGNORE_INDEX).sum())
    nll, brier = (float(part.double().sum()) for part in pixel_scores(logs, labels))
    return (nll / known, brier / known) if known else (math.nan, math.nan)
