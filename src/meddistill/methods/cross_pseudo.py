"""Cross pseudo supervision: two networks teach each other.

Chen, Yuan, Zeng and Wang, "Semi-supervised semantic segmentation with cross pseudo supervision" (CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from meddistill.losses import cross_entropy
from meddistill.methods.base import Batch, Method
from meddistill.methods.rows import Part, rows_of
from meddistill.methods.single_branch import label_terms
from meddistill.methods.terms import check_parts, check_weights, hard_labels, mean
from meddistill.pacing.ramp import SigmoidRamp

if TYPE_CHECKING:
    from meddistill.models import Twin


class TwinLogits(NamedTuple):
    """Logits (B, K, *S) of two networks for the same images."""

    first: Tensor
    second: Tensor


@dataclass(kw_only=True, eq=False)
class CrossPseudoSupervision(Method):
    """L = L_s + w_weak L_w + w(epoch) L_cross, each the sum over two networks of different initial weights.

    L_s and L_w are their losses on full masks and weak labels, L_cross the cross-entropy of each with the
    most likely class of the other. The first network is the one to use. A batch without `full` counts as
    fully labelled.

    Args:
        w_weak: weight of the weak labels.
        w_cross: w in the end; the paper's 1.5.
        ramp_epochs: epochs in which w rises as exp(-5 (1 - t)^2); 0, as in the paper, for all of it at once.
        cross_on: the images on which the two teach each other.
        dice: weight of a soft Dice loss on full masks.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> CrossPseudoSupervision().status()
        {'cross_weight': 1.5}
    """

    form = "twin"
    w_weak: float = 0.1
    w_cross: float = 1.5
    ramp_epochs: int = 0
    cross_on: Part = "all"
    dice: float = 0.0

    def __post_init__(self) -> None:
        check_weights(w_weak=self.w_weak, w_cross=self.w_cross, dice=self.dice)
        check_parts(cross_on=self.cross_on)
        self._ramp = SigmoidRamp(self.ramp_epochs)
        self.on_epoch_start(0)

    def on_epoch_start(self, epoch: int) -> None:
        """Raise the weight of the pseudo-labels."""
        self._weight = self.w_cross * self._ramp(epoch)

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
        """`loss` and its terms `strong`, `weak` and `cross`, before their weights.

        Args:
            answer: logits (B, K, *S) of both networks.
            batch: its `label`, and `full` where it has it, are used.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        own, others = (label_terms(logits, batch, dice=self.dice) for logits in answer)
        strong, weak = (one + other for one, other in zip(own, others, strict=True))
        rows = rows_of(batch)
        first, second = (rows.take(logits, self.cross_on) for logits in answer)
        cross = mean(cross_entropy(first, hard_labels(second)))
        cross = cross + mean(cross_entropy(second, hard_labels(first)))
        return {
            "loss": strong + self.w_weak * weak + self._weight * cross,
            "strong": strong.detach(),
            "weak": weak.detach(),
            "cross": cross.detach(),
        }

    def status(self) -> Mapping[str, float]:
        """`cross_weight`, w of this epoch."""
        return {"cross_weight": self._weight}
