"""Cross-entropy per pixel, and its mean over the few labelled pixels of a weak label."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.losses import two_classes
from meddistill.losses.checks import IGNORE_INDEX, check_labels, wide


def cross_entropy(logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Per-pixel cross-entropy -log softmax(logits)_y in nats; 0 at ignored pixels.

    Args:
        logits: (B, C, *S), or (B, C) for classification.
        labels: (B, *S) integers 0..C-1 or `ignore_index`.
        ignore_index: label of pixels that do not count.

    Returns:
        (B, *S), float32 (float64 for double logits).

    Raises:
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(3, 2), torch.tensor([0, 1, -100]))
        tensor([0.6931, 0.6931, 0.0000])
    """
    check_labels(logits, labels)
    if logits.shape[1] == 2:
        return two_classes.cross_entropy(wide(logits), labels, ignore_index=ignore_index)
    return F.cross_entropy(wide(logits), labels.long(), ignore_index=ignore_index, reduction="none")


def partial_cross_entropy(logits: Tensor, labels: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Mean cross-entropy over the labelled pixels; 0 with a gradient of 0 when there is none.

    Args:
        logits: (B, C, *S), or (B, C) for classification.
        labels: (B, *S) integers 0..C-1 or `ignore_index`.
        ignore_index: label of pixels that do not count.

    Returns:
        Scalar.

    Raises:
        ValueError: the shapes disagree.

    Example:
        >>> import torch
        >>> partial_cross_entropy(torch.zeros(1, 2, 2, 2), torch.tensor([[[0, -100], [-100, -100]]]))
        tensor(0.6931)
        >>> partial_cross_entropy(torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), -100))
        tensor(0.)
    """
    check_labels(logits, labels)
    count = (labels != ignore_index).sum().clamp(min=1)
    if logits.shape[1] == 2:
        return cross_entropy(logits, labels, ignore_index=ignore_index).sum() / count
    total = F.cross_entropy(wide(logits), labels.long(), ignore_index=ignore_index, reduction="sum")
    return total / count


class CrossEntropy(nn.Module):
    """`cross_entropy` with its argument stored.

    Example:
        >>> import torch
        >>> CrossEntropy()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4)).shape
        torch.Size([1, 4, 4])
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Per-pixel cross-entropy (B, *S)."""
        return cross_entropy(logits, labels, ignore_index=self.ignore_index)


class PartialCrossEntropy(nn.Module):
    """`partial_cross_entropy` with its argument stored.

    Example:
        >>> import torch
        >>> PartialCrossEntropy(ignore_index=255)(torch.zeros(1, 4), torch.tensor([3]))
        tensor(1.3863)
    """

    def __init__(self, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scalar mean over the labelled pixels."""
        return partial_cross_entropy(logits, labels, ignore_index=self.ignore_index)
