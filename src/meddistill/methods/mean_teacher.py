"""Mean teacher: agree with the running average of oneself.

Tarvainen and Valpola, "Mean teachers are better role models" (NeurIPS 2017). Defaults after Yu et al.,
"Uncertainty-aware self-ensembling model for semi-supervised 3D left atrium segmentation" (MICCAI 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from meddistill.losses.checks import check_fraction, wide
from meddistill.methods.base import Batch, Method
from meddistill.methods.rows import Part, rows_of
from meddistill.methods.single_branch import label_terms
from meddistill.methods.terms import check_parts, check_weights, mean
from meddistill.pacing.ramp import SigmoidRamp

if TYPE_CHECKING:
    from meddistill.models import AveragedStudent


class TaughtLogits(NamedTuple):
    """Logits (B, K, *S) of the student and of its average, each for a noisy copy of the images."""

    student: Tensor
    teacher: Tensor


@dataclass(kw_only=True, eq=False)
class MeanTeacher(Method):
    """L = L_s + w_weak L_w + w(epoch) mean (softmax(student) - softmax(teacher))^2.

    The teacher is the moving average of the student's weights and the network to use. Student and teacher see
    the images under different noise; L_s and L_w are the student's losses on full masks and weak labels. A
    batch without `full` counts as fully labelled.

    Args:
        w_weak: weight of the weak labels.
        w_consistency: w in the end.
        ramp_epochs: epochs in which w rises as exp(-5 (1 - t)^2); 0 for the whole weight at once.
        ema_decay: of the average; the plain mean counts until it reaches this decay.
        noise: standard deviation of the Gaussian noise (the image runs from 0 to 1), cut off at twice that.
        consistency_on: the images on which the two must agree.
        dice: weight of a soft Dice loss on full masks.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> method = MeanTeacher(ramp_epochs=10)
        >>> method.on_epoch_start(5)
        >>> round(method.status()["consistency_weight"], 4)  # 0.1 exp(-5 / 4)
        0.0287
    """

    form = "mean_teacher"
    w_weak: float = 0.1
    w_consistency: float = 0.1
    ramp_epochs: int = 40
    ema_decay: float = 0.99
    noise: float = 0.1
    consistency_on: Part = "all"
    dice: float = 0.0

    def __post_init__(self) -> None:
        check_weights(w_weak=self.w_weak, w_consistency=self.w_consistency, noise=self.noise, dice=self.dice)
        check_fraction("ema_decay", self.ema_decay)
        check_parts(consistency_on=self.consistency_on)
        self._ramp = SigmoidRamp(self.ramp_epochs)
        self.on_epoch_start(0)

    def on_epoch_start(self, epoch: int) -> None:
        """Raise the weight of the consistency."""
        self._weight = self.w_consistency * self._ramp(epoch)

    def answer(self, student: AveragedStudent, batch: Batch) -> TaughtLogits:
        """The logits of the student and of its average, each for the images under noise of its own."""
        own = student.student(self._noisy(batch["image"]))
        with torch.no_grad():
            return TaughtLogits(own, student.teacher(self._noisy(batch["image"])))

    def __call__(
        self,
        answer: TaughtLogits,
        /,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its terms `strong`, `weak` and `consistency`, before their weights.

        Args:
            answer: logits (B, K, *S) of both.
            batch: its `label`, and `full` where it has it, are used.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        strong, weak = label_terms(answer.student, batch, dice=self.dice)
        rows = rows_of(batch)
        own, average = (wide(rows.take(logits, self.consistency_on)).softmax(1) for logits in answer)
        consistency = mean((own - average.detach()).square())
        return {
            "loss": strong + self.w_weak * weak + self._weight * consistency,
            "strong": strong.detach(),
            "weak": weak.detach(),
            "consistency": consistency.detach(),
        }

    def after_step(self, student: AveragedStudent) -> None:
        """Move the average towards the student."""
        student.update(self.ema_decay)

    def status(self) -> Mapping[str, float]:
        """`consistency_weight`, w of this epoch."""
        return {"consistency_weight": self._weight}

    def _noisy(self, image: Tensor) -> Tensor:
        if not self.noise:
            return image
        return image + (self.noise * torch.randn_like(image)).clamp(-2 * self.noise, 2 * self.noise)
