"""Training on the labels alone: the control of every study, called IID by the P-CD paper."""

from __future__ import annotations

from torch import Tensor

from meddistill.losses import partial_cross_entropy
from meddistill.methods.base import Batch, Method


class Supervised(Method):
    """Mean cross-entropy over the labelled pixels.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> Supervised()(torch.zeros(1, 2, 2, 2), batch)["loss"]
        tensor(0.6931)
    """

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its only term `ce`.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        loss = partial_cross_entropy(student_logits, batch["label"])
        return {"loss": loss, "ce": loss.detach()}
