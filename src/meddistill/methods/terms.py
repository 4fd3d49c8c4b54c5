"""Terms that the methods of mixed supervision share. Each is a scalar, and 0 where it has no image."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.losses import partial_cross_entropy, soft_dice_loss
from meddistill.losses.checks import check_choice
from meddistill.methods.rows import PARTS_OF


def label_loss(logits: Tensor, labels: Tensor, *, dice: float = 0.0) -> Tensor:
    """Cross-entropy over the labelled pixels, plus `dice` times the soft Dice loss.

    Example:
        >>> import torch
        >>> label_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), dice=3.0)  # ln 2 + 3 * 1 / 3
        tensor(1.6931)
    """
    loss = partial_cross_entropy(logits, labels)
    return loss + dice * soft_dice_loss(logits, labels) if dice else loss


def mean(values: Tensor) -> Tensor:
    """The mean of a map (B, *S), 0 when it is empty.

    Example:
        >>> import torch
        >>> mean(torch.ones(2, 3)), mean(torch.ones(0, 3))
        (tensor(1.), tensor(0.))
    """
    return values.sum() / max(values.numel(), 1)


def weighted_mean(maps: Iterable[tuple[Tensor, float]]) -> Tensor:
    """The mean over the pixels of several maps (B, *S), each with its weight; 0 when they are empty.

    Example:
        >>> import torch
        >>> weighted_mean([(torch.zeros(1, 2), 3), (torch.ones(1, 2), 1)])
        tensor(0.2500)
    """
    maps = list(maps)
    size = sum(weight * values.numel() for values, weight in maps)
    return torch.stack([weight * values.sum() for values, weight in maps]).sum() / max(size, 1)


def hard_labels(logits: Tensor) -> Tensor:
    """The most likely class (B, *S) of each pixel, without a gradient."""
    return logits.detach().argmax(1)


def check_weights(**weights: float) -> None:
    """Refuse weights that are no finite numbers of 0 or more.

    Raises:
        ConfigError: names the weight.

    Example:
        >>> check_weights(w_kd=-1)
        Traceback (most recent call last):
        meddistill.errors.ConfigError: w_kd must be a number of 0 or more, got -1
    """
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ConfigError(f"{name} must be a number of 0 or more, got {weight!r}")


def check_parts(**parts: str) -> None:
    """Refuse parts of a batch that are none of `PARTS_OF`.

    Raises:
        ConfigError: names the option.
    """
    for name, part in parts.items():
        check_choice(name, part, PARTS_OF)
