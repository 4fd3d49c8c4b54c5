"""Training on the labels alone: the control of every study, called IID by the P-CD paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.methods.base import Batch, Context, Method
from meddistill.methods.class_weights import (
    ClassWeights,
    balanced_weights,
    check_class_weights,
    label_loss_of,
)


@dataclass(kw_only=True, eq=False)
class Supervised(Method):
    """Mean cross-entropy over the labelled pixels, or images; binary for labels that exclude nothing.

    Args:
        class_weights: one number for each class, or "balanced" for such that all classes of the training
            split weigh the same, see `balanced_weights`; None for equal ones.

    Raises:
        ConfigError: weights that are no positive numbers.

    Example:
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> Supervised()(torch.zeros(1, 2, 2, 2), batch)["loss"]
        tensor(0.6931)
    """

    answers_images = True
    class_weights: ClassWeights = None

    def __post_init__(self) -> None:
        check_class_weights(self.class_weights)
        given = self.class_weights
        self._weights = None if given is None or isinstance(given, str) else [float(w) for w in given]

    def prepare(self, context: Context) -> None:
        """Count the classes where they are to be balanced.

        Raises:
            ConfigError: another number of weights than classes, or a class that no training case has.
            ValueError: the context tells no labels.
        """
        if self.class_weights == "balanced":
            if context.labels is None:
                raise ValueError("balanced class weights need the labels: give the context labels")
            self._weights = balanced_weights(context.labels(), context.num_classes)
        if self._weights is not None and len(self._weights) != context.num_classes:
            raise ConfigError(
                f"class_weights holds {len(self._weights)} numbers, but there are {context.num_classes} "
                "classes (the background counts as one); give one for each"
            )

    def __call__(
        self,
        student_logits: Tensor,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its only term `ce`.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used; of the logits' shape for labels that exclude nothing.
            teacher_logits: not used.

        Raises:
            ValueError: labels and logits disagree in shape.
        """
        weights = None
        if self._weights is not None:
            weights = torch.tensor(self._weights, device=student_logits.device)
        loss = label_loss_of(student_logits, batch["label"], weights)
        return {"loss": loss, "ce": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """The weights that were found."""
        return {} if self._weights is None else {"class_weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the weights that were found."""
        self._weights = state.get("class_weights")
