"""Two networks of one architecture that start from different weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from meddistill.errors import ConfigError
from meddistill.models.compound import Compound


class Twin(Compound):
    """Two networks side by side. Called with an image they answer with the logits of the first.

    Args:
        first: the one to use.
        second: a network of the same architecture with other weights.

    Raises:
        ConfigError: they are one and the same.

    Example:
        >>> import torch
        >>> network = Twin(nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1))
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> torch.equal(network(image), network.first(image)), network.branches
        (True, ('first', 'second'))
    """

    branches = ("first", "second")

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        if first is second:
            raise ConfigError("the two networks of a twin are one; build each of them")
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, image: Tensor, *_: Any) -> Tensor:
        """Logits (B, K, *S) of the first network."""
        logits: Tensor = self.first(image)
        return logits
