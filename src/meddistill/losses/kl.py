"""Temperature-scaled Kullback-Leibler divergence (Hinton, Vinyals and Dean 2015, section 2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.losses.checks import check_choice, check_positive, check_same_shape, wide

ClassReduction = Literal["sum", "mean"]


def kl_divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float = 1.0,
    class_reduction: ClassReduction = "sum",
) -> Tensor:
    """Per-pixel T^2 KL(teacher || student) of the tempered softmax, in nats; the teacher is detached.

    `k = T^2 sum_c p_c (log p_c - log q_c)` with `p = softmax(teacher / T)` and `q = softmax(student / T)`,
    computed in log-space and in float32 (float64 for double input) whatever the precision of the logits.

    Args:
        student_logits: (B, C, *S), or (B, C) for classification.
        teacher_logits: same shape.
        temperature: T > 0.
        class_reduction: "sum" is the divergence; "mean" divides it by C, as some released code does.

    Returns:
        (B, *S).

    Raises:
        ConfigError: the temperature is not above 0 or the reduction is unknown.
        ValueError: the shapes differ.

    Example:
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, 1.0986123]])
        >>> kl_divergence(student, teacher).item()  # ln 2 minus the entropy of (1/4, 3/4)
        0.1308...
    """
    check_positive("temperature", temperature)
    check_choice("class_reduction", class_reduction, ("sum", "mean"))
    check_same_shape(student_logits, teacher_logits)
    log_student = torch.log_softmax(wide(student_logits) / temperature, dim=1)
    teacher = torch.softmax(wide(teacher_logits.detach()) / temperature, dim=1)
    per_class = F.kl_div(log_student, teacher, reduction="none")
    divergence = per_class.sum(1) if class_reduction == "sum" else per_class.mean(1)
    return divergence * temperature**2


class KLDivergence(nn.Module):
    """`kl_divergence` with its arguments stored.

    Example:
        >>> KLDivergence(temperature=4.5)(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 4, 4])
    """

    def __init__(self, *, temperature: float = 1.0, class_reduction: ClassReduction = "sum") -> None:
        super().__init__()
        self.temperature = temperature
        self.class_reduction: ClassReduction = class_reduction

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Per-pixel divergence (B, *S) of logits (B, C, *S)."""
        return kl_divergence(
            student_logits,
            teacher_logits,
            temperature=self.temperature,
            class_reduction=self.class_reduction,
        )
