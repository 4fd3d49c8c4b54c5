"""Argument checks and the working precision that all losses share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from meddistill.errors import ConfigError, unknown_name

IGNORE_INDEX = -100
"""Label value of pixels that no loss counts."""

LN2 = math.log(2.0)

LIMIT = 1e18
"""No logit counts as further than this from another, so that infinite ones do not end as NaN."""


def wide(tensor: Tensor) -> Tensor:
    """`tensor` in the precision losses are computed in: float32, or float64 when it already is.

    Example:
        >>> wide(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Refuse labels whose shape is not the logits' shape without the class axis.

    Raises:
        ValueError: logits (B, C, *S) and labels (B, *S) disagree.
    """
    if logits.ndim < 2 or labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}: "
            "expected logits (B, C, *S) and labels (B, *S)"
        )


def several_labels(logits: Tensor, labels: Tensor) -> bool:
    """Whether labels do not exclude each other: they have an axis of classes, as the logits have.

    Example:
        >>> logits = torch.zeros(2, 3)
        >>> several_labels(logits, torch.tensor([0, 2])), several_labels(logits, torch.ones(2, 3))
        (False, True)
    """
    return labels.ndim == logits.ndim


def check_same_shape(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Refuse logits that are not (B, C, *S) of one shape.

    Raises:
        ValueError: the shapes differ, or there is no class axis.
    """
    if student_logits.ndim < 2 or student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student logits {tuple(student_logits.shape)} and teacher logits {tuple(teacher_logits.shape)} "
            "must share one shape (B, C, *S)"
        )


def check_positive(name: str, value: float) -> float:
    """`value`, if it is a finite number above 0.

    Raises:
        ConfigError: it is not.

    Example:
        >>> check_positive("temperature", 4.5)
        4.5
    """
    if not _is_number(value) or value <= 0:
        raise ConfigError(f"{name} must be a number above 0, got {value!r}")
    return value


def check_fraction(name: str, value: float) -> float:
    """`value`, if it lies in 0..1.

    Raises:
        ConfigError: it does not.

    Example:
        >>> check_fraction("beta", 0.7)
        0.7
    """
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigError(f"{name} must lie in 0..1, got {value!r}")
    return value


def check_count(name: str, value: int) -> int:
    """`value`, if it is a whole number of at least 1.

    Raises:
        ConfigError: it is not.

    Example:
        >>> check_count("every", 5)
        5
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def check_choice(name: str, value: str, known: Iterable[str]) -> str:
    """`value`, if it is one of `known`.

    Raises:
        ConfigError: it is not; the message offers the nearest names.

    Example:
        >>> check_choice("mode", "tpl", ("tpl", "cpl"))
        'tpl'
    """
    known = tuple(known)
    if value not in known:
        raise ConfigError(unknown_name(name, str(value), known))
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
