"""Checks that several methods make on what a loop hands them."""

from __future__ import annotations

from torch import Tensor

from meddistill.errors import TeacherError
from meddistill.losses.checks import check_fraction


def require_teacher(student_logits: Tensor, teacher_logits: Tensor | None) -> Tensor:
    """The teacher's logits, detached, if they fit the student's.

    Raises:
        ValueError: there are none, or their spatial shape differs.
        TeacherError: the teacher has another number of classes.
    """
    if teacher_logits is None:
        raise ValueError("this method needs a teacher: pass teacher_logits")
    check_class_count(teacher_logits, student_logits.shape[1])
    if teacher_logits.shape != student_logits.shape:
        raise ValueError(
            f"teacher logits {tuple(teacher_logits.shape)} do not fit "
            f"student logits {tuple(student_logits.shape)}"
        )
    return teacher_logits.detach()


def check_class_count(teacher_logits: Tensor, num_classes: int) -> None:
    """Refuse a teacher whose logits have another number of classes.

    Raises:
        TeacherError: they have.
    """
    if teacher_logits.ndim < 2 or teacher_logits.shape[1] != num_classes:
        found = teacher_logits.shape[1] if teacher_logits.ndim > 1 else "no"
        raise TeacherError(
            f"the teacher has {found} classes, the student {num_classes}: "
            "train both on the same labels or map the teacher's classes"
        )


def term_weights(alpha: float | None) -> tuple[float, float]:
    """Weights of the distillation and the label term: 1 and 1, or alpha and 1 - alpha.

    Raises:
        ConfigError: alpha lies outside 0..1.

    Example:
        >>> term_weights(None), term_weights(0.25)
        ((1.0, 1.0), (0.25, 0.75))
    """
    return (1.0, 1.0) if alpha is None else (check_fraction("alpha", alpha), 1.0 - alpha)
