"""Multiply-adds of a network for one image: what its convolutions, matrix products and attention compute."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import nn

_log = logging.getLogger(__name__)


def count_macs(model: nn.Module, shape: Sequence[int]) -> int | None:
    """Multiply-adds (MACs) of one forward pass in evaluation mode for one image of `shape`.

    Nothing is computed: a copy of the network without values (on the device `meta`) is asked for its shapes.
    Counted are convolutions, matrix products and attention, each multiplication with its addition once;
    normalisation, activations, pooling and resizing are not. `torch.utils.flop_counter` counts two
    operations for each.

    Args:
        model: takes images (1, C, *S).
        shape: (C, *S) of an image.

    Returns:
        Their number; None for a network that needs values to know its shapes.

    Example:
        >>> count_macs(nn.Conv2d(1, 4, 3, padding=1), (1, 8, 8)), count_macs(nn.Linear(10, 2), (10,))
        (2304, 20)
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        copied = copy.deepcopy(model).to("meta").eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            copied(torch.empty(1, *shape, device="meta"))
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        _log.debug("multiply-adds are not counted: %s", error)
        return None
    return int(counter.get_total_flops()) // 2
