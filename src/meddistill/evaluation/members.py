"""Several answers of one network: with dropout switched on, and about turned images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, combinations

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError


class WithDropout(nn.Module):
    """A network whose dropout layers stay on when it is evaluated; all other layers are as ever.

    Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation" (ICML 2016), section 4.

    Args:
        network: has layers of dropout.
        seed: draws what is dropped, together with the number of the call.

    Example:
        >>> kept_on = WithDropout(nn.Dropout(0.5), seed=0).eval()
        >>> kept_on(torch.ones(1, 1000)).eq(0).float().mean().round(decimals=1), kept_on.network.training
        (tensor(0.5000), False)
    """

    def __init__(self, network: nn.Module, seed: int) -> None:
        super().__init__()
        self.network, self._seed, self._calls = network, seed, 0

    def forward(self, image: Tensor) -> Tensor:
        """The network's answer, less what is dropped."""
        devices = [image.device] if image.is_cuda else []
        with torch.random.fork_rng(devices=devices), _switched_on(dropout_layers(self.network)):
            torch.manual_seed(mixed_seed(self._seed, self._calls))
            self._calls += 1
            logits: Tensor = self.network(image)
        return logits


def dropout_layers(network: nn.Module) -> list[nn.Module]:
    """The layers that drop something in training.

    Example:
        >>> len(dropout_layers(nn.Sequential(nn.Dropout(0.1), nn.Dropout(0.0), nn.ReLU())))
        1
    """
    return [part for part in network.modules() if isinstance(part, _DropoutNd) and part.p > 0]


def dropout_members(network: nn.Module, count: int, *, seed: int = 0) -> tuple[nn.Module, ...]:
    """`count` answers of a network with dropout.

    Args:
        network: has layers of dropout.
        count: how many.
        seed: draws what is dropped.

    Raises:
        ConfigError: the network has no dropout layer.

    Example:
        >>> len(dropout_members(nn.Dropout(0.5), 3))
        3
    """
    if not dropout_layers(network):
        raise ConfigError(
            "mc_dropout needs a student with dropout layers and this one has none; take tta or ensemble, or "
            "train a model that has them (confkd/unet, or a monai model with the option dropout)"
        )
    return tuple(WithDropout(network, mixed_seed(seed, number)) for number in range(count))


@contextmanager
def _switched_on(layers: list[nn.Module]) -> Iterator[None]:
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


class Turned(nn.Module):
    """A network that sees each image turned, and whose maps are turned back.

    Args:
        network: answers with maps, or once per image.
        flipped: axes that are reversed, counted without those of batch and channel.
        transposed: whether the last two axes are exchanged afterwards.

    Example:
        >>> seen = Turned(nn.Identity(), flipped=(0,), transposed=True)
        >>> image = torch.arange(4.0).view(1, 1, 2, 2)
        >>> torch.equal(seen(image), image)
        True
    """

    def __init__(self, network: nn.Module, flipped: tuple[int, ...], transposed: bool) -> None:
        super().__init__()
        self.network, self.transposed = network, transposed
        self._axes = [2 + axis for axis in flipped]

    def forward(self, image: Tensor) -> Tensor:
        """The network's answer about the turned image, as if it had not been turned."""
        turned = image.flip(self._axes)
        answer: Tensor = self.network(turned.mT if self.transposed else turned)
        if answer.ndim != image.ndim:
            return answer
        return (answer.mT if self.transposed else answer).flip(self._axes)


def turned_members(network: nn.Module, size: tuple[int, ...]) -> tuple[nn.Module, ...]:
    """The network on every turned image but the image itself.

    All flips; where the last two axes are equally long also those that exchange them, which together are the
    rotations by 90 degrees and their mirror images: 7 of a square image.

    Args:
        network: answers about images.
        size: (*S) of the images that it sees.

    Example:
        >>> [len(turned_members(nn.Identity(), size)) for size in ((8, 8), (8, 6), (4, 8, 8))]
        [7, 3, 15]
    """
    axes = range(len(size))
    flips = chain.from_iterable(combinations(axes, count) for count in range(len(size) + 1))
    exchanges = (False, True) if size[-1] == size[-2] else (False,)
    views = [(flipped, transposed) for flipped in flips for transposed in exchanges]
    return tuple(Turned(network, *view) for view in views[1:])
