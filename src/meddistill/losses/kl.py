"""Temperature-scaled Kullback-Leibler divergence (Hinton, Vinyals and Dean 2015, section 2)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from meddistill.losses import two_classes
from meddistill.losses.checks import LIMIT, LN2, check_choice, check_positive, check_same_shape, wide

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
    With "sum" the gradient is found on the way, and there is no second derivative.

    Args:
        student_logits: (B, C, *S), or (B, C) for classification.
        teacher_logits: same shape.
        temperature: T > 0.
        class_reduction: "sum" is the divergence; "mean" divides it by C, as some released code does, and
            follows that code term by term, down to the rounding, for about twice the time.

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
    student, teacher = wide(student_logits), wide(teacher_logits.detach())
    if class_reduction == "mean":
        return _mean_over_classes(student, teacher, temperature)
    if student.shape[1] == 2:
        return two_classes.divergence(student, teacher, temperature)
    divergence: Tensor = _Divergence.apply(student, teacher, temperature)  # type: ignore[no-untyped-call]
    return divergence


def _mean_over_classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The formula as it stands, in the order in which the released code rounds."""
    log_q = torch.log_softmax(student / temperature, dim=1)
    p = torch.softmax(teacher / temperature, dim=1)
    own = p.log().clamp_(min=-LIMIT).mul_(p)
    return (own - p * log_q).mean(1) * temperature**2


class _Divergence(torch.autograd.Function):
    """KL and its gradient T (q - p), with one exponential for each logit.

    With x the logits over T ln 2 below their maximum, softmax is 2^x / sum 2^x, and KL is ln 2 times
    sum p (x_teacher - x_student) + log2(sum 2^x_student / sum 2^x_teacher).
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        scale = 1 / (temperature * LN2)
        below_p, below_q = _below_maximum(teacher, scale), _below_maximum(student, scale)
        p = below_p.exp2()
        lead = below_p.sub_(below_q).clamp_(-LIMIT, LIMIT).mul_(p).sum(1)
        q = below_q.exp2_()
        total_q, total_p = (power.sum(1, keepdim=True) for power in (q, p))
        value = lead.div_(total_p.squeeze(1)).add_((total_q / total_p).log2_().squeeze(1))
        ctx.save_for_backward(q.div_(total_q).addcdiv_(p, total_p, value=-1))
        ctx.temperature = temperature
        return value.mul_(LN2 * temperature**2).clamp_(min=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (difference,) = ctx.saved_tensors
        return difference * (ctx.temperature * upstream).unsqueeze(1), None, None


def _below_maximum(logits: Tensor, scale: float) -> Tensor:
    """`scale` times the logits, less the largest of the pixel."""
    return torch.add(logits.amax(1, keepdim=True).mul_(-scale), logits.contiguous(), alpha=scale)


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
