"""Random logits and labels for the tests beside this file."""

from __future__ import annotations

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX


def random_logits(
    seed: int, shape: tuple[int, ...] = (4, 3, 5, 6), scale: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Logits (B, K, *S), and labels (B, *S) that they have nothing to do with."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return scale * torch.randn(shape, generator=generator), labels


def some_unknown(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The same with every third label unknown."""
    logits, labels = pair
    hidden = labels.clone()
    hidden.view(-1)[::3] = IGNORE_INDEX
    return logits, hidden
