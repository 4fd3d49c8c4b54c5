"""Soft Dice loss (Milletari, Navab and Ahmadi 2016), with the sums of plain probabilities below the line."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddistill.losses.checks import IGNORE_INDEX, check_labels, check_positive, wide


def soft_dice_loss(
    logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORE_INDEX, smooth: float = 1.0
) -> Tensor:
    """1 minus the soft Dice score, averaged over images and classes, the background among them.

    `d = (2 sum_i p_ic y_ic + s) / (sum_i p_ic + sum_i y_ic + s)` for each image and class, over its labelled
    pixels, with p = softmax(logits) and y the label as 0 and 1. An image without labelled pixels gives 0 with
    a gradient of 0.

    Args:
        logits: (B, C, *S), or (B, C) for classification.
        labels: (B, *S) integers 0..C-1 or `ignore_index`.
        ignore_index: label of pixels that do not count.
        smooth: s, above 0; a class that is neither labelled nor predicted scores 1.

    Returns:
        Scalar, 0..1.

    Raises:
        ConfigError: `smooth` is not above 0.
        ValueError: the shapes disagree.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])  # one image, two classes, two pixels
        >>> soft_dice_loss(logits, torch.tensor([[0, 1]])).item()  # 1 - (2 * 0.5 + 1) / (1 + 1 + 1)
        0.3333...
    """
    check_labels(logits, labels)
    check_positive("smooth", smooth)
    probability = wide(logits).softmax(dim=1).unsqueeze(-1).flatten(2)
    target = labels[:, None, ..., None].flatten(2)
    known = (target != ignore_index).to(probability.dtype)
    truth = torch.zeros_like(probability).scatter(1, (target * known).long(), 1.0) * known
    overlap, predicted, labelled = (part.sum(2) for part in (probability * truth, probability * known, truth))
    score = (2 * overlap + smooth) / (predicted + labelled + smooth)
    return (1 - score).sum() / max(score.numel(), 1)


class SoftDiceLoss(nn.Module):
    """`soft_dice_loss` with its arguments stored.

    Example:
        >>> SoftDiceLoss()(torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), -100))
        tensor(0.)
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX, smooth: float = 1.0) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.smooth = check_positive("smooth", smooth)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar loss of logits (B, C, *S) and labels (B, *S)."""
        return soft_dice_loss(logits, labels, ignore_index=self.ignore_index, smooth=self.smooth)
