"""The divergence of a student from several teachers at once, each with a weight of its own.

With p_i the softened prediction of teacher i, w_i its weight and q the student's prediction, the weighted sum
of the divergences is one cross-entropy with the mean of the teachers, less what the student has no part in:

  sum_i w_i KL(p_i || q) = -sum_i w_i H(p_i) - sum_c (sum_i w_i p_ic) log q_c.

What the student's side of it takes is what a single teacher takes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from meddistill.losses.checks import LIMIT, check_choice, check_positive, wide
from meddistill.losses.kl import ClassReduction
from meddistill.losses.two_classes import LINEAR_FROM, margin


def ensemble_kl(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weights: Tensor,
    *,
    temperature: float = 1.0,
    class_reduction: ClassReduction = "sum",
) -> Tensor:
    """Per-pixel sum_i w_i T^2 KL(teacher_i || student), in nats; the teachers are detached.

    With one teacher of weight 1 it is `kl_divergence`. It is computed in float32 (float64 for double input).

    Args:
        student_logits: (B, K, *S), or (B, K) for classification.
        teacher_logits: (B, M, K, *S) of M teachers.
        weights: (M,), or (B, M) for weights of each case.
        temperature: T > 0.
        class_reduction: "sum" is the divergence; "mean" divides it by K.

    Returns:
        (B, *S).

    Raises:
        ConfigError: the temperature is not above 0 or the reduction is unknown.
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> student, teachers = torch.zeros(1, 2), torch.tensor([[[0.0, 1.0986123], [0.0, 0.0]]])
        >>> ensemble_kl(student, teachers, torch.tensor([0.5, 0.5])).item()  # half of 0.1308...
        0.0654...
    """
    check_choice("class_reduction", class_reduction, ("sum", "mean"))
    student, teachers, weight = _checked(student_logits, teacher_logits, weights, temperature)
    classes = student.shape[1]
    if classes == 2:
        value = _of_states(margin(student), margin(teachers.movedim(2, 1)), weight.squeeze(2))
    else:
        value = _of_classes(student, teachers, weight)
    return temperature**2 * (value / classes if class_reduction == "mean" else value)


def ensemble_bernoulli_kl(
    student_logits: Tensor, teacher_logits: Tensor, weights: Tensor, *, temperature: float = 1.0
) -> Tensor:
    """sum_i w_i T^2 KL(teacher_i || student) of each label's probability, in nats; the teachers are detached.

    With one teacher of weight 1 it is `bernoulli_kl` with the labels kept apart.

    Args:
        student_logits: (B, K, *S) for K labels that do not exclude each other, or (B, K).
        teacher_logits: (B, M, K, *S) of M teachers.
        weights: (M,), or (B, M) for weights of each case.
        temperature: T > 0.

    Returns:
        (B, K, *S).

    Raises:
        ConfigError: the temperature is not above 0.
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> student, teachers = torch.zeros(1, 1), torch.tensor([[[1.0986123], [0.0]]])
        >>> ensemble_bernoulli_kl(student, teachers, torch.tensor([0.5, 0.5])).item()
        0.0654...
    """
    student, teachers, weight = _checked(student_logits, teacher_logits, weights, temperature)
    return temperature**2 * _of_states(student, teachers, weight)


def _checked(
    student: Tensor, teachers: Tensor, weights: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Student and teachers over T, and the weights with the axes of the teachers."""
    check_positive("temperature", temperature)
    members, cases = teachers.shape[1:2], student.shape[:1]
    fits = student.ndim >= 2 and teachers.shape == (*cases, *members, *student.shape[1:])
    if not fits or weights.shape not in (members, cases + members):
        raise ValueError(
            f"student logits {tuple(student.shape)}, those of the teachers {tuple(teachers.shape)} and "
            f"weights {tuple(weights.shape)} disagree: expected (B, K, *S), (B, M, K, *S) and (M,) or (B, M)"
        )
    weight = weights.to(wide(student)).view(-1, *members, *(1,) * (student.ndim - 1))
    return wide(student) / temperature, wide(teachers.detach()) / temperature, weight


def _of_classes(student: Tensor, teachers: Tensor, weight: Tensor) -> Tensor:
    log_p = teachers.log_softmax(2).clamp_(min=-LIMIT)
    share = weight * log_p.exp()
    own = (share * log_p).sum((1, 2))
    log_q = student.log_softmax(1).clamp(min=-LIMIT)
    return _not_below_zero(own - (share.sum(1) * log_q).sum(1))


def _of_states(student: Tensor, teachers: Tensor, weight: Tensor) -> Tensor:
    """The same for two states, of the difference of their logits: student (B, ...), teachers (B, M, ...)."""
    u, v = teachers.clamp(-LIMIT, LIMIT), student.clamp(-LIMIT, LIMIT)
    p = u.sigmoid()
    entropy = F.softplus(u, threshold=LINEAR_FROM).addcmul_(p, u, value=-1)
    total = weight.sum(1)
    against = total * F.softplus(v, threshold=LINEAR_FROM) - (weight * p).sum(1) * v
    return _not_below_zero(against - (weight * entropy).sum(1))


def _not_below_zero(value: Tensor) -> Tensor:
    """Rounding below 0 changes the value alone, not the gradient."""
    return value + (value.clamp(min=0) - value).detach()
