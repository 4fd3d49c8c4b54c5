"""From a map of losses to one number."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from meddistill.losses.checks import check_choice
from meddistill.losses.masks import keep, numbers

Normalise = Literal["all", "selected"]


def masked_mean(values: Tensor, weight: Tensor, valid: Tensor, *, normalise: Normalise = "all") -> Tensor:
    """Weighted mean of `values` over the valid pixels; 0 with a gradient of 0 when nothing counts.

    Args:
        values: (B, *S).
        weight: (B, *S), or anything that broadcasts to it.
        valid: (B, *S) bool; False where the label is unknown.
        normalise: "all" divides by the number of valid pixels, so that a small selection gives a small loss;
            "selected" divides by the sum of the weights.

    Returns:
        Scalar.

    Raises:
        ConfigError: `normalise` is unknown.

    Example:
        >>> values, weight = torch.tensor([1.0, 3.0, 9.0]), torch.tensor([0.0, 1.0, 1.0])
        >>> valid = torch.tensor([True, True, False])
        >>> masked_mean(values, weight, valid), masked_mean(values, weight, valid, normalise="selected")
        (tensor(1.5000), tensor(3.))
    """
    check_choice("normalise", normalise, ("all", "selected"))
    known = numbers(valid, values.dtype).expand_as(values)
    total = keep(values * weight, known).sum()
    size = known.sum() if normalise == "all" else keep(weight.expand_as(values), known).sum()
    return total / torch.where(size > 0, size, 1)
