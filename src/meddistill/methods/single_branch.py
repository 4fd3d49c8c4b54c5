"""One decoder for both kinds of labels: the control of mixed supervision."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from meddistill.losses import partial_cross_entropy
from meddistill.methods.base import Batch, Method
from meddistill.methods.rows import rows_of
from meddistill.methods.terms import check_weights, label_loss


@dataclass(kw_only=True, eq=False)
class SingleBranch(Method):
    """L = CE on full masks + w_weak times the partial cross-entropy of weakly labelled images.

    A batch without `full` counts as fully labelled.

    Args:
        w_weak: weight of the weak labels.
        dice: weight of a soft Dice loss on full masks.

    Raises:
        ConfigError: a weight is below 0.

    Example:
        >>> import torch
        >>> image, label = torch.zeros(2, 1, 2, 2), torch.zeros(2, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0, 1]), case_id=["a", "b"])
        >>> SingleBranch(w_weak=1.0)(torch.zeros(2, 2, 2, 2), batch | {"full": torch.tensor([True, False])})
        {'loss': tensor(1.3863), 'strong': tensor(0.6931), 'weak': tensor(0.6931)}
    """

    w_weak: float = 0.1
    dice: float = 0.0

    def __post_init__(self) -> None:
        check_weights(w_weak=self.w_weak, dice=self.dice)

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its terms `strong` and `weak`, before their weights.

        Args:
            student_logits: (B, K, *S).
            batch: its `label`, and `full` where it has it, are used.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        strong, weak = label_terms(student_logits, batch, dice=self.dice)
        return {"loss": strong + self.w_weak * weak, "strong": strong.detach(), "weak": weak.detach()}


def label_terms(logits: Tensor, batch: Batch, *, dice: float = 0.0) -> tuple[Tensor, Tensor]:
    """What one network learns from the labels: those of full masks, and those of weakly labelled images.

    Args:
        logits: (B, K, *S).
        batch: its `label`, and `full` where it has it, are used.
        dice: weight of a soft Dice loss on full masks.
    """
    rows, labels = rows_of(batch), batch["label"]
    strong = label_loss(rows.take(logits, "full"), rows.take(labels, "full"), dice=dice)
    return strong, partial_cross_entropy(rows.take(logits, "weak"), rows.take(labels, "weak"))
