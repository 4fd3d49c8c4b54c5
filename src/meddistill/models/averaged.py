"""A student and the running average of its weights, which teaches it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from meddistill.models.compound import Compound


class AveragedStudent(Compound):
    """A student and its exponential moving average: the teacher of Tarvainen and Valpola (NeurIPS 2017).

    Called with an image it answers with the teacher's logits, which are those to use. The teacher starts as a
    copy of the student, has no gradient and changes by `update` alone; its batch statistics are those of the
    images that it answered in training.

    Args:
        student: any network.

    Example:
        >>> network = AveragedStudent(nn.Conv2d(1, 2, 1))
        >>> network(torch.zeros(1, 1, 4, 4)).requires_grad, network.student(torch.zeros(1, 1, 4, 4)).shape
        (False, torch.Size([1, 2, 4, 4]))
    """

    branches = ("teacher", "student")

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.updates: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *S) of the teacher."""
        logits: Tensor = self.teacher(image)
        return logits

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the teacher towards the student: teacher = a teacher + (1 - a) student.

        In the n-th call a is min(1 - 1 / (n + 1), decay), the plain mean of the weights so far until the
        decay is reached. Weights that are frozen in the student stay as they are in the teacher too.

        Args:
            decay: 0..1.
        """
        self.updates += 1
        share = (1 / (self.updates + 1.0)).clamp(min=1 - decay)
        for average, weight in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            if weight.requires_grad:
                average.lerp_(weight, share.to(average.dtype))
