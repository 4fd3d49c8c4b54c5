"""The class that a whole case stands for, and how sure the teachers are of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from meddistill.exclusion.base import check_classes


class Dominant(NamedTuple):
    """For each case of a batch its dominant class (B,) int64 and the confidence in it (B,) float32, 0..1."""

    classes: Tensor
    confidence: Tensor


def dominant_class(probabilities: Tensor) -> Dominant:
    """The foreground class with the largest area, or the background where no pixel is foreground.

    The confidence is the mean probability of that class over the pixels where it is the most likely one; of
    an empty mask these are all pixels. Of two classes with one area the first counts.

    Args:
        probabilities: (B, K, *S), or (B, K) for one answer per image.

    Raises:
        ValueError: there is no class axis.

    Example:
        >>> foreground = torch.tensor([[0.9, 0.7, 0.1], [0.2, 0.3, 0.4]])  # two cases of three pixels
        >>> dominant_class(torch.stack([1 - foreground, foreground], dim=1))
        Dominant(classes=tensor([1, 0]), confidence=tensor([0.8000, 0.7000]))
    """
    p = check_classes(probabilities)
    p = p.unsqueeze(-1).flatten(2)
    found = p.argmax(1)
    areas, sums = [], []
    for k in range(p.shape[1]):  # one class at a time, so that no one-hot map of all is held
        here = (found == k).to(p.dtype)
        areas.append(here.sum(1))
        sums.append((p[:, k] * here).sum(1))
    area, total = torch.stack(areas, dim=1), torch.stack(sums, dim=1)
    classes = torch.where(area[:, 1:].sum(1) > 0, area[:, 1:].argmax(1) + 1, 0)
    chosen = classes.unsqueeze(1)
    return Dominant(classes, (total.gather(1, chosen) / area.gather(1, chosen).clamp(min=1)).squeeze(1))


def as_columns(probabilities: Tensor) -> Tensor:
    """Dominant class and confidence as the numbers (B, 2) that a rule measures."""
    return torch.stack([column.float() for column in dominant_class(probabilities)], dim=1)
