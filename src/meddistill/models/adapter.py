"""A thin coat round a network of another library: any image size in, one tensor of logits out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from meddistill.errors import ConfigError


class SegmentationNetwork(nn.Module):
    """Pads an image to what the network can take, and crops its logits back.

    The image is continued at its far edges with their own values (replicate padding), only when it has to be.

    Args:
        network: maps (B, C, *S) to logits (B, K, *S), or to several outputs of which the first (or `"out"`)
            counts.
        divisor: for each spatial axis, the number that its size must be a multiple of.
        least: for each spatial axis, the smallest size that the network can take.
        normalises_pooled: the network has batch normalisation after global pooling, so that one image alone
            gives it a single value to normalise in training.

    Example:
        >>> import torch
        >>> pooled = nn.Sequential(nn.AvgPool2d(4), nn.Upsample(scale_factor=4))
        >>> SegmentationNetwork(pooled, divisor=(4, 4), least=(4, 4))(torch.zeros(1, 2, 5, 7)).shape
        torch.Size([1, 2, 5, 7])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        divisor: Sequence[int],
        least: Sequence[int],
        normalises_pooled: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.divisor = tuple(divisor)
        self.least = tuple(least)
        self.normalises_pooled = normalises_pooled
        self.arguments: Mapping[str, Any] | None = None
        """What `create_model` was called with; None where another built the network."""

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *S) of an image (B, C, *S).

        Raises:
            ConfigError: the image has another number of axes, the training batch is too small, or the
                network's options make its output differ in size from its input.
        """
        padded = self.padded(image)
        self._check_batch(padded.shape[0], padded.shape[2:])
        logits = first_output(self.network(padded), image.ndim - 2)
        if logits.shape[2:] != padded.shape[2:]:
            raise ConfigError(
                f"the network answers an image of {_times(padded.shape[2:])} with logits of "
                f"{_times(logits.shape[2:])}; change the option that sets its output size"
            )
        return cropped(logits, image.shape[2:])

    def padded(self, image: Tensor) -> Tensor:
        """The image (B, C, *S), continued at its far edges to a size that the network takes.

        Raises:
            ConfigError: the image has another number of axes.
        """
        self._check_axes(image)
        size = image.shape[2:]
        wanted = [
            max(_next_multiple(n, d), m) for n, d, m in zip(size, self.divisor, self.least, strict=True)
        ]
        missing = [want - n for want, n in zip(wanted, size, strict=True)]
        if not any(missing):
            return image
        return F.pad(image, [n for more in reversed(missing) for n in (0, more)], mode="replicate")

    def _check_axes(self, image: Tensor) -> None:
        dims = len(self.divisor)
        if image.ndim != dims + 2:
            raise ConfigError(
                f"a {dims}D network takes images of {dims + 2} axes (batch, channel, space), "
                f"not of shape {tuple(image.shape)}"
            )

    def _check_batch(self, count: int, size: Sequence[int]) -> None:
        deepest = 1 if self.normalises_pooled else math.prod(size) // math.prod(self.divisor)
        if count * deepest < 2 and self._normalises_batch():
            raise ConfigError(
                f"this network normalises over the batch and cannot train on one image of {_times(size)}; "
                "give batches of 2 or more, and drop or merge a last batch of 1"
            )

    def _normalises_batch(self) -> bool:
        """Whether a part that is not frozen takes the statistics of its batch."""
        return any(isinstance(part, _BatchNorm) and part.training for part in self.network.modules())


class ClassificationNetwork(nn.Module):
    """A network that answers once per image.

    Args:
        network: maps (B, C, *S) to logits (B, K).
        fixed_size: the only size that it takes; None when it takes any.

    Example:
        >>> import torch
        >>> pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> ClassificationNetwork(pooled)(torch.zeros(2, 3, 5, 7)).shape
        torch.Size([2, 3])
    """

    def __init__(self, network: nn.Module, *, fixed_size: Sequence[int] | None = None) -> None:
        super().__init__()
        self.network = network
        self.fixed_size = None if fixed_size is None else tuple(fixed_size)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of an image (B, C, *S)."""
        return first_output(self.network(image), image.ndim - 2)


def first_output(output: Any, dims: int) -> Tensor:
    """The main logits (B, K, *S) among what a network returned.

    Logits (B, K) of a network that answers once per image are found as well. Takes `"out"` or the first entry
    of a mapping, the first of a tuple or list, and index 0 of the extra axis that MONAI's deep supervision
    stacks its heads along.

    Raises:
        ConfigError: there is no tensor.

    Example:
        >>> import torch
        >>> first_output({"aux": torch.zeros(1, 3, 4, 4), "out": torch.zeros(1, 2, 4, 4)}, dims=2).shape
        torch.Size([1, 2, 4, 4])
    """
    if isinstance(output, Mapping) and output:
        output = output["out"] if "out" in output else next(iter(output.values()))
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise ConfigError(f"the network returned {type(output).__name__}, not a tensor of logits")
    return output[:, 0] if output.ndim == dims + 3 else output


def cropped(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """The first `size` elements along each spatial axis of (B, C, *S).

    Example:
        >>> import torch
        >>> cropped(torch.zeros(1, 2, 8, 8), (5, 7)).shape
        torch.Size([1, 2, 5, 7])
    """
    for axis, n in enumerate(size, start=2):
        tensor = tensor.narrow(axis, 0, n)
    return tensor


def _next_multiple(size: int, divisor: int) -> int:
    return -(-size // divisor) * divisor


def _times(size: Sequence[int]) -> str:
    return "x".join(str(n) for n in size)
