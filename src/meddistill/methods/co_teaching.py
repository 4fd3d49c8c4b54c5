"""Co-teaching: two networks choose for each other the labels to learn from.

Han et al., "Co-teaching: robust training of deep neural networks with extremely noisy labels" (NeurIPS 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.losses import IGNORE_INDEX, binary_cross_entropy, cross_entropy
from meddistill.losses.checks import check_choice, check_fraction, several_labels
from meddistill.methods.base import Batch, Method
from meddistill.methods.cross_pseudo import TwinLogits

if TYPE_CHECKING:
    from meddistill.models import Twin

Unit = Literal["case", "pixel"]


@dataclass(kw_only=True, eq=False)
class CoTeaching(Method):
    """L = the mean cross-entropy of each network over what the other one finds easiest.

    In a batch each network ranks the labels by its own loss; the other learns from those of the smallest loss
    alone, a share 1 - R(epoch) of them, rounded down but at least one. R(e) = forget_rate min(e / T_k, 1)
    rises in the first T_k = `ramp_epochs` epochs, before the networks fit wrong labels. Both start from
    different weights; the first is the one to use. Of labels that do not exclude each other the loss is their
    binary cross-entropy.

    Args:
        forget_rate: R in the end: the share of wrong labels that is expected, 0..1.
        ramp_epochs: T_k; 0 for the whole rate at once.
        select: rank each "case" by the mean loss of its labelled pixels (or its known labels), or each
            "pixel" of the batch (or each label of each image).

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> method = CoTeaching(forget_rate=0.4, ramp_epochs=10)
        >>> method.on_epoch_start(5)
        >>> method.status()
        {'forget_rate': 0.2}
    """

    answers_images = True
    form = "twin"
    forget_rate: float = 0.2
    ramp_epochs: int = 10
    select: Unit = "case"

    def __post_init__(self) -> None:
        check_fraction("forget_rate", self.forget_rate)
        check_choice("select", self.select, ("case", "pixel"))
        epochs = self.ramp_epochs
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise ConfigError(f"ramp_epochs must be a whole number of 0 or more, got {epochs!r}")
        self.on_epoch_start(0)

    def on_epoch_start(self, epoch: int) -> None:
        """Forget more as the networks begin to remember."""
        reached = min(epoch / self.ramp_epochs, 1.0) if self.ramp_epochs else 1.0
        self._rate = self.forget_rate * reached

    def answer(self, student: Twin, batch: Batch) -> TwinLogits:
        """The logits of both networks."""
        return TwinLogits(student.first(batch["image"]), student.second(batch["image"]))

    def __call__(
        self,
        answer: TwinLogits,
        /,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its terms: the losses of the `first` and of the `second` network.

        Args:
            answer: logits (B, K, *S) of both networks.
            batch: its `label` (B, *S) is used; of the logits' shape for labels that exclude nothing.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        labels = batch["label"]
        loss = binary_cross_entropy if several_labels(answer.first, labels) else cross_entropy
        values, known = [loss(logits, labels) for logits in answer], labels != IGNORE_INDEX
        if self.select == "case":
            count = known.unsqueeze(-1).flatten(1).sum(1)
            values = [value.unsqueeze(-1).flatten(1).sum(1) / count.clamp(min=1) for value in values]
            known = count > 0
        kept = [small_losses(value.detach(), known, 1 - self._rate) for value in values]
        first, second = (
            (value * chosen).sum() / chosen.sum().clamp(min=1)
            for value, chosen in zip(values, reversed(kept), strict=True)
        )
        return {"loss": first + second, "first": first.detach(), "second": second.detach()}

    def status(self) -> Mapping[str, float]:
        """`forget_rate`, R of this epoch."""
        return {"forget_rate": self._rate}


def small_losses(values: Tensor, known: Tensor, share: float) -> Tensor:
    """1 for the smallest losses, a share of the known ones rounded down but at least one; else 0.

    Args:
        values: losses, any shape.
        known: which of them count, the same shape.
        share: 0..1.

    Example:
        >>> values, known = torch.tensor([0.3, 0.1, 0.2, 0.0]), torch.tensor([True, True, True, False])
        >>> small_losses(values, known, 0.7)
        tensor([0., 1., 1., 0.])
    """
    flat = values.masked_fill(~known, float("inf")).flatten()
    order = flat.argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    count = (known.sum() * share + 1e-6).floor().clamp(min=1)
    return ((rank < count) & known.flatten()).to(values.dtype).view_as(values)
