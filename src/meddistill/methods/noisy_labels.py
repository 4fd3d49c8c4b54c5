"""Training on noisy labels alone: the controls of robust distillation that change nothing but the loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from meddistill.losses import (
    IGNORE_INDEX,
    label_smoothing_cross_entropy,
    masked_mean,
    symmetric_cross_entropy,
)
from meddistill.losses.checks import check_fraction
from meddistill.losses.noise_robust import check_symmetric
from meddistill.methods.base import Batch, Method


@dataclass(kw_only=True, eq=False)
class LabelSmoothing(Method):
    """Mean cross-entropy with the target (1 - s) one-hot(y) + s / K over the labelled pixels, or images.

    The target of a label that excludes no other is (1 - s) y + s / 2. Szegedy et al. 2016; against noisy
    labels after Lukasik et al., "Does label smoothing mitigate label noise?" (ICML 2020).

    Args:
        smoothing: s, 0..1.

    Raises:
        ConfigError: `smoothing` lies outside 0..1.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> LabelSmoothing()(torch.zeros(1, 2, 2, 2), batch)["loss"]
        tensor(0.6931)
    """

    answers_images = True
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("smoothing", self.smoothing)

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its only term `smoothed`.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used; of the logits' shape for labels that exclude nothing.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        values = label_smoothing_cross_entropy(student_logits, batch["label"], smoothing=self.smoothing)
        loss = masked_mean(values, values.new_ones(()), batch["label"] != IGNORE_INDEX)
        return {"loss": loss, "smoothed": loss.detach()}


@dataclass(kw_only=True, eq=False)
class SymmetricLearning(Method):
    """Mean of alpha CE + beta RCE over the labelled pixels, or images (Wang et al., ICCV 2019).

    A label that excludes no other has two states, and both terms are those of its state.

    Args:
        alpha: weight of the cross-entropy.
        beta: weight of the reverse cross-entropy.
        log_zero: what log 0 counts as in it, below 0.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> SymmetricLearning()(torch.zeros(1, 2, 2, 2), batch)["loss"]  # 0.1 ln 2 + 4 / 2
        tensor(2.0693)
    """

    answers_images = True
    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        check_symmetric(self.alpha, self.beta, self.log_zero)

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its only term `symmetric`.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used; of the logits' shape for labels that exclude nothing.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        values = symmetric_cross_entropy(
            student_logits, batch["label"], alpha=self.alpha, beta=self.beta, log_zero=self.log_zero
        )
        loss = masked_mean(values, values.new_ones(()), batch["label"] != IGNORE_INDEX)
        return {"loss": loss, "symmetric": loss.detach()}
