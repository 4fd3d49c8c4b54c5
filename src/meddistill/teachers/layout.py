"""Which numbers of a teacher's logits are stored.

A softmax does not change when the same number is added to all logits of a pixel, whatever its temperature, so
that one number a pixel can be saved. Probabilities are never stored: at temperature 1 they would lose what a
higher temperature brings out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from meddistill.errors import ConfigError

MANY_CLASSES = 16
"""Above this number of classes only the likeliest `MANY_KEPT` of each pixel are kept by default."""
MANY_KEPT = 8

Growth = Literal["sigmoid", "exponential"]


class Layout(Protocol):
    """A way to write logits (B, K, *S) as `channels` numbers a pixel, and to read them again."""

    @property
    def channels(self) -> int:
        """Numbers stored for each pixel."""
        ...

    @property
    def ranks(self) -> int:
        """Class indices stored for each pixel, 0 for none."""
        ...

    @property
    def growth(self) -> Growth:
        """How probability follows from the numbers: they are log-odds, or relative to the largest."""
        ...

    def pack(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Numbers (B, channels, *S) float32, and the classes (B, ranks, *S) they belong to."""
        ...

    def unpack(self, values: Tensor, classes: Tensor | None) -> Tensor:
        """Logits (B, K, *S) float32 with the same softmax at every temperature."""
        ...


def choose_layout(num_classes: int, top_k: int | None = None, *, independent: bool = False) -> Layout:
    """The layout for `num_classes` classes.

    Args:
        num_classes: K, 2 or more.
        top_k: keep the likeliest `top_k` classes of each pixel; None keeps all, or `MANY_KEPT` where there
            are more than `MANY_CLASSES`.
        independent: the classes are labels that do not exclude each other; all are kept.

    Raises:
        ConfigError: `top_k` is below 1 or above K, or given for such labels.

    Example:
        >>> choose_layout(2), choose_layout(4), choose_layout(104)
        (Odds(), Relative(num_classes=4), Likeliest(num_classes=104, ranks=8))
    """
    if top_k is not None and not 1 <= top_k <= num_classes:
        raise ConfigError(f"teacher.top_k is {top_k}; give 1 to {num_classes}, or null for the default")
    if independent:
        if top_k is not None:
            raise ConfigError("teacher.top_k keeps the likeliest classes, but these are labels; leave it out")
        return Labels(num_classes)
    kept = top_k or (MANY_KEPT if num_classes > MANY_CLASSES else num_classes)
    if kept < num_classes:
        return Likeliest(num_classes, kept)
    return Odds() if num_classes == 2 else Relative(num_classes)


@dataclass(frozen=True)
class Labels:
    """Labels that do not exclude each other: the log-odds of each, which are its logit.

    Example:
        >>> Labels(2).pack(torch.tensor([[1.0, -4.0]]))[0]
        tensor([[ 1., -4.]])
    """

    num_classes: int
    ranks: ClassVar[int] = 0
    growth: ClassVar[Growth] = "sigmoid"

    @property
    def channels(self) -> int:
        """One for each label."""
        return self.num_classes

    def pack(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """The logits as they are."""
        return logits.float(), None

    def unpack(self, values: Tensor, classes: Tensor | None) -> Tensor:  # noqa: ARG002 - part of the protocol
        """The same numbers."""
        return values


@dataclass(frozen=True)
class Odds:
    """Two classes: the log-odds of the second one, a single number.

    Example:
        >>> layout = Odds()
        >>> values, _ = layout.pack(torch.tensor([[1.0, 4.0]]))
        >>> values, layout.unpack(values, None)
        (tensor([[3.]]), tensor([[0., 3.]]))
    """

    channels: ClassVar[int] = 1
    ranks: ClassVar[int] = 0
    growth: ClassVar[Growth] = "sigmoid"

    def pack(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log-odds (B, 1, *S)."""
        return (logits[:, 1:] - logits[:, :1]).float(), None

    def unpack(self, values: Tensor, classes: Tensor | None) -> Tensor:  # noqa: ARG002 - part of the protocol
        """Logits (B, 2, *S), of which the first are 0."""
        return torch.cat([torch.zeros_like(values), values], dim=1)


@dataclass(frozen=True)
class Relative:
    """All classes, relative to the likeliest of each pixel: numbers of 0 and below.

    Example:
        >>> Relative(3).pack(torch.tensor([[1.0, 4.0, 2.0]]))[0]
        tensor([[-3.,  0., -2.]])
    """

    num_classes: int
    ranks: ClassVar[int] = 0
    growth: ClassVar[Growth] = "exponential"

    @property
    def channels(self) -> int:
        """One for each class."""
        return self.num_classes

    def pack(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits less the largest of each pixel."""
        return (logits - logits.amax(dim=1, keepdim=True)).float(), None

    def unpack(self, values: Tensor, classes: Tensor | None) -> Tensor:  # noqa: ARG002 - part of the protocol
        """The same numbers."""
        return values


@dataclass(frozen=True)
class Likeliest:
    """The likeliest classes of each pixel, and the mean of the others' probabilities.

    The logits of the likeliest keep their differences, so that they follow any temperature. The others share
    one value, which is right in sum at temperature 1 and an approximation elsewhere. The largest logit is 0
    and is not stored; the last number stands for the others.

    Example:
        >>> layout = Likeliest(4, ranks=2)
        >>> values, classes = layout.pack(torch.tensor([[1.0, 5.0, 3.0, 1.0]]))
        >>> values, classes
        (tensor([[-2., -4.]]), tensor([[1, 2]], dtype=torch.uint8))
        >>> layout.unpack(values, classes)
        tensor([[-4.,  0., -2., -4.]])
    """

    num_classes: int
    ranks: int
    growth: ClassVar[Growth] = "exponential"

    @property
    def channels(self) -> int:
        """One for each rank: the first is known to be 0, the last is for the others."""
        return self.ranks

    def pack(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """Relative logits of the ranks after the first, then the others; and the class of each rank."""
        ordered, order = torch.sort(logits.float(), dim=1, descending=True, stable=True)
        relative = ordered - ordered[:, :1]
        others = relative[:, self.ranks :].logsumexp(dim=1, keepdim=True)
        mean = others - torch.tensor(float(self.num_classes - self.ranks)).log()
        kind = torch.uint8 if self.num_classes <= 256 else torch.int16
        return torch.cat([relative[:, 1 : self.ranks], mean], dim=1), order[:, : self.ranks].to(kind)

    def unpack(self, values: Tensor, classes: Tensor | None) -> Tensor:
        """Logits whose largest is 0."""
        assert classes is not None
        ranked = torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)
        logits = values[:, -1:].expand(-1, self.num_classes, *values.shape[2:]).clone()
        return logits.scatter_(1, classes.long(), ranked)
