"""Two decoders that share an encoder and nothing else: the second control of mixed supervision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from meddistill.methods.base import Batch, Method
from meddistill.methods.mixed import MixedSupervision
from meddistill.methods.rows import Part

if TYPE_CHECKING:
    from meddistill.models import DualDecoder, DualLogits


@dataclass(kw_only=True, eq=False)
class Decoupled(Method):
    """L = L_s + w_weak L_w: mixed supervision without divergence and entropy.

    Args:
        w_weak: weight of the weak labels, which the lower branch learns.
        dice: weight of a soft Dice loss on full masks.
        weak_on: the images of the weak labels.

    Raises:
        ConfigError: an option is unknown or out of range.

    Example:
        >>> Decoupled(weak_on="weak").weak_on
        'weak'
    """

    form = "dual_decoder"
    w_weak: float = 0.1
    dice: float = 0.0
    weak_on: Part = "all"

    def __post_init__(self) -> None:
        self._terms = MixedSupervision(
            w_weak=self.w_weak, w_kd=0.0, w_ent=0.0, dice=self.dice, weak_on=self.weak_on
        )

    def answer(self, student: DualDecoder, batch: Batch) -> DualLogits:
        """The logits of both branches, each on the images that its term needs."""
        return self._terms.answer(student, batch)

    def __call__(
        self, answer: DualLogits, /, batch: Batch, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`loss` and its terms `strong` and `weak`, before their weights; see `MixedSupervision`."""
        return self._terms(answer, batch, teacher_logits)
