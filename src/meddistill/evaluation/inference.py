"""Running a network for its predictions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Network = Callable[[Tensor], Tensor]
"""Anything that maps an image (B, C, *S) to logits (B, K, *S)."""


@contextmanager
def predicting(network: Network) -> Iterator[None]:
    """Inference mode; a module is set to evaluation mode within and put back as it was afterwards.

    Example:
        >>> module = nn.Dropout()
        >>> with predicting(module):
        ...     module.training, torch.is_inference_mode_enabled()
        (False, True)
        >>> module.training
        True
    """
    parts = list(network.modules()) if isinstance(network, nn.Module) else []
    were_training = [part for part in parts if part.training]
    for part in were_training:
        part.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for part in were_training:
            part.training = True


def device_of(network: Network) -> torch.device:
    """Where the weights of `network` are; the CPU for whatever is not a module or has none.

    Example:
        >>> device_of(nn.Linear(1, 1))
        device(type='cpu')
    """
    weights = network.parameters() if isinstance(network, nn.Module) else iter(())
    first = next(weights, None)
    return torch.device("cpu") if first is None else first.device
