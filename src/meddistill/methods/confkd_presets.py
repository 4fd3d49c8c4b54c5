"""Where the paper on mixed supervision and its released code part: one row of settings for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from meddistill.losses import IGNORE_INDEX, kl_divergence
from meddistill.losses.checks import wide
from meddistill.losses.kl import ClassReduction
from meddistill.methods.rows import Rows

if TYPE_CHECKING:
    from meddistill.models import DualDecoder, DualLogits


@dataclass(frozen=True)
class Preset:
    """What `MixedSupervision` leaves to a preset; docs/methods/confkd.md explains each entry.

    Args:
        w_kd: weight of the divergence when the method is given none.
        softened: what the temperature divides, the logits or the probabilities made of them.
        direction: whose prediction the divergence is measured from.
        reduction: the divergence and the entropy summed over the classes, or their mean.
        factor: what the divergence is multiplied by, besides the square of the temperature.
        detach: whether the upper branch is a constant in the divergence.
        full_counts: how often a pixel of a fully labelled image counts in the entropy beside one of another.
        images: whether each branch runs on the images that its terms need, or both run on the fully labelled
            ones twice and on all others once.
        labelled: the weakly labelled pixels that count.
        means: one mean over all weakly labelled pixels, or the sum of one over those of fully labelled images
            and one over the rest.
    """

    w_kd: float
    softened: Literal["logits", "probabilities"]
    direction: Literal["upper_to_lower", "lower_to_upper"]
    reduction: ClassReduction
    factor: float
    detach: bool
    full_counts: int
    images: Literal["needed", "repeated"]
    labelled: Literal["all", "foreground"]
    means: Literal["together", "apart"]


PRESETS = {
    "paper": Preset(
        w_kd=1.0,
        softened="logits",
        direction="upper_to_lower",
        reduction="sum",
        factor=1.0,
        detach=True,
        full_counts=1,
        images="needed",
        labelled="all",
        means="together",
    ),
    "reference": Preset(
        w_kd=50.0,
        softened="probabilities",
        direction="lower_to_upper",
        reduction="mean",
        factor=0.5,
        detach=False,
        full_counts=3,
        images="repeated",
        labelled="foreground",
        means="apart",
    ),
}
"""`paper`: what the paper says. `reference`: what the released code of IPMI 2021 computes."""


def divergence(upper: Tensor, lower: Tensor, temperature: float, settings: Preset) -> Tensor:
    """Per-pixel divergence between the branches; logits (B, K, *S) -> (B, *S).

    Example:
        >>> import torch
        >>> upper, lower = torch.tensor([[0.0, 1.0986123]]), torch.zeros(1, 2)
        >>> divergence(upper, lower, 1.0, PRESETS["paper"]).item()  # ln 2 minus the entropy of (1/4, 3/4)
        0.1308...
    """
    reduction = settings.reduction
    if settings.detach:
        upper = upper.detach()
    if settings.softened == "probabilities":
        upper, lower = wide(upper).softmax(1), wide(lower).softmax(1)
    if settings.direction == "upper_to_lower":
        source, target = upper, lower
    else:
        source, target = lower, upper
    if source.requires_grad:
        return settings.factor * _two_sided(source, target, temperature, reduction)
    return settings.factor * kl_divergence(target, source, temperature=temperature, class_reduction=reduction)


def repeated(student: DualDecoder, image: Tensor, rows: Rows) -> DualLogits:
    """Both branches on the fully labelled images twice and on the others once, as the released code does.

    That changes the statistics of batch normalisation, and what dropout leaves.

    Returns:
        For every image of the batch, the logits of the upper branch from the first copy and those of the
        lower one from the second.
    """
    full, weak = rows.take(image, "full"), rows.take(image, "weak")
    answer = student.branches_of(torch.cat([full, full, weak]))
    place = torch.arange(len(image), device=image.device)
    order = torch.cat([rows.take(place, "full"), rows.take(place, "weak")]).argsort()
    upper = torch.cat([answer.upper[: len(full)], answer.upper[2 * len(full) :]])
    return answer._replace(upper=upper[order], lower=answer.lower[len(full) :][order])


def counted(weak: Tensor, settings: Preset) -> Tensor:
    """The weak labels (B, *S) of the pixels that count.

    Example:
        >>> import torch
        >>> counted(torch.tensor([0, 1, -100]), PRESETS["reference"])
        tensor([-100,    1, -100])
    """
    return weak.masked_fill(weak == 0, IGNORE_INDEX) if settings.labelled == "foreground" else weak


def _two_sided(source: Tensor, target: Tensor, temperature: float, reduction: ClassReduction) -> Tensor:
    """T^2 KL(source || target) with a gradient at both."""
    log_p, log_q = (wide(side / temperature).log_softmax(1) for side in (source, target))
    by_class = log_p.exp() * (log_p - log_q)
    total = by_class.sum(1) if reduction == "sum" else by_class.mean(1)
    return total * temperature**2
