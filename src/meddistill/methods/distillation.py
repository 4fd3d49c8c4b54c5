"""Distillation of softened predictions (Hinton, Vinyals and Dean 2015); KD and SD of the P-CD paper."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from meddistill.losses import IGNORE_INDEX, bernoulli_kl, kl_divergence
from meddistill.losses.checks import check_choice, check_positive, several_labels
from meddistill.losses.kl import ClassReduction
from meddistill.losses.reduce import masked_mean
from meddistill.methods.base import Batch, Method
from meddistill.methods.checks import require_teacher, term_weights
from meddistill.methods.class_weights import label_loss_of


@dataclass(kw_only=True, eq=False)
class Distillation(Method):
    """L = mean_i k_i + mean_i e_i: divergence from the teacher plus cross-entropy, over the labelled pixels.

    When teacher and student share their architecture this is self-distillation. With "sum" and C classes the
    divergence weighs C times more against the cross-entropy than in the released P-CD code.

    Labels of whole images are learnt in the same way, one "pixel" each. Where they do not exclude each other,
    every label is one: k is the divergence of its two states (Bernoulli), e its binary cross-entropy.

    Args:
        temperature: of the divergence k; the released P-CD code uses 4.5.
        alpha: None weighs both terms by 1, as P-CD does; a number in 0..1 gives alpha k + (1 - alpha) e.
        class_reduction: "sum" is the divergence; "mean" divides it by the number of classes, as the
            released P-CD code does.

    Raises:
        ConfigError: an argument is out of range or unknown.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> terms = Distillation()(torch.zeros(1, 2, 2, 2), batch, torch.zeros(1, 2, 2, 2))
        >>> terms["kd"], terms["ce"]
        (tensor(0.), tensor(0.6931))
    """

    needs_teacher = True
    answers_images = True
    temperature: float = 4.5
    alpha: float | None = None
    class_reduction: ClassReduction = "sum"

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_choice("class_reduction", self.class_reduction, ("sum", "mean"))
        self._weights = term_weights(self.alpha)

    def __call__(
        self, student_logits: Tensor, batch: Batch, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`loss` and its terms `kd` and `ce`, before their weights.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used; of the logits' shape for labels that exclude nothing.
            teacher_logits: (B, K, *S).

        Raises:
            ValueError: shapes disagree, or there are no teacher logits.
            TeacherError: the teacher has another number of classes.
        """
        teacher = require_teacher(student_logits, teacher_logits)
        labels = batch["label"]
        valid = labels != IGNORE_INDEX
        ce = label_loss_of(student_logits, labels)
        several = several_labels(student_logits, labels)
        divergence = self._divergence(student_logits, teacher, several=several)
        kd = masked_mean(divergence, divergence.new_ones(()), valid)
        kd_weight, ce_weight = self._weights
        return {"loss": kd_weight * kd + ce_weight * ce, "kd": kd.detach(), "ce": ce.detach()}

    def _divergence(self, student: Tensor, teacher: Tensor, *, several: bool) -> Tensor:
        """The divergence of each pixel (B, *S), or of each of `several` labels (B, K, *S)."""
        if not several:
            return kl_divergence(
                student, teacher, temperature=self.temperature, class_reduction=self.class_reduction
            )
        states = bernoulli_kl(student, teacher, temperature=self.temperature, label_reduction="none")
        return states / 2 if self.class_reduction == "mean" else states
