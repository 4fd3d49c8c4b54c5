"""Divergence, cross-entropy and confidence for two classes, where softmax is the sigmoid of one difference.

With the margin m = z_1 - z_0 of the logits, softmax(z)_1 = sigmoid(m) and -log softmax(z)_0 = softplus(m):
half the numbers and half the work. A loss finds its gradient on the way, so that backward is one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from meddistill.losses.checks import IGNORE_INDEX, LIMIT
from meddistill.losses.masks import keep, targets

LINEAR_FROM = 64.0
"""Where softplus(x) equals x, in double precision too."""


def margin(logits: Tensor) -> Tensor:
    """The second logit minus the first: (B, 2, *S) -> (B, *S).

    Example:
        >>> margin(torch.tensor([[1.0, 3.0]]))
        tensor([2.])
    """
    return logits[:, 1] - logits[:, 0]


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softened predictions; logits (B, 2, *S) -> (B, *S).

    Example:
        >>> divergence(torch.zeros(1, 2), torch.tensor([[0.0, 1.0986123]]), temperature=1.0).item()
        0.1308...
    """
    value: Tensor = _Divergence.apply(student, teacher, temperature)  # type: ignore[no-untyped-call]
    return value


def cross_entropy(logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """-log softmax(z)_y; logits (B, 2, *S) -> (B, *S), 0 at ignored pixels.

    Example:
        >>> cross_entropy(torch.zeros(3, 2), torch.tensor([0, 1, -100]))
        tensor([0.6931, 0.6931, 0.0000])
    """
    value: Tensor = _CrossEntropy.apply(logits, labels, ignore_index)  # type: ignore[no-untyped-call]
    return value


def confidence(
    logits: Tensor, labels: Tensor, *, temperature: float = 1.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """softmax(z / T)_y; logits (B, 2, *S) -> (B, *S), 0 at ignored pixels.

    Example:
        >>> confidence(torch.tensor([[0.0, 1.0986123], [0.0, 0.0]]), torch.tensor([1, -100]))
        tensor([0.7500, 0.0000])
    """
    against, _, known = _against(logits, labels, ignore_index)
    return keep(against.mul_(-1 / temperature).sigmoid_(), known)


def _against(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """The margin against the label, its sign (1, -1 or 0 for class 0, 1 or none), and what is labelled."""
    target, known = targets(labels, 2, logits.dtype, ignore_index=ignore_index)
    sign = target.mul_(-2).add_(known)
    return margin(logits).mul_(sign), sign, known


def _to_logits(upstream: Tensor, slope: Tensor) -> Tensor:
    """The gradient at both logits of a loss with this slope in the margin: (B, *S) -> (B, 2, *S)."""
    second = upstream * slope
    return torch.stack((-second, second), dim=1)


class _Divergence(torch.autograd.Function):
    """The cross-entropy of the teacher's p with the student, softplus(v) - p v, less the entropy of p.

    v and u are the margins of student and teacher over T.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        u = margin(teacher).mul_(1 / temperature).clamp_(-LIMIT, LIMIT)
        p = u.sigmoid()
        own = F.softplus(u, threshold=LINEAR_FROM).addcmul_(p, u, value=-1)
        del u  # its memory, still in the cache, serves the student
        v = margin(student).mul_(1 / temperature)
        value = F.softplus(v, threshold=LINEAR_FROM).addcmul_(p, v, value=-1).sub_(own)
        ctx.save_for_backward(v.sigmoid_().sub_(p).mul_(temperature))
        return value.mul_(temperature**2).clamp_(min=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return _to_logits(upstream, *ctx.saved_tensors), None, None


class _CrossEntropy(torch.autograd.Function):
    """softplus of the margin against the label."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        against, sign, known = _against(logits, labels, ignore_index)
        loss = keep(F.softplus(against, threshold=LINEAR_FROM), known)
        ctx.save_for_backward(against.sigmoid_().mul_(sign))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        return _to_logits(upstream, *ctx.saved_tensors), None, None
