"""Losses against soft targets: a probability of each class for each pixel, such as a teacher's mask."""

from __future__ import annotations

from torch import Tensor, nn

from meddistill.losses.checks import LIMIT, check_positive, wide


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Per-pixel -sum_c y_c log softmax(logits)_c in nats; the target is detached.

    For two classes this is the binary cross-entropy of the foreground, with logit z_1 - z_0 and target y_1.

    Args:
        logits: (B, K, *S), or (B, K) for classification.
        target: same shape, probabilities y that add up to 1 over the classes.

    Returns:
        (B, *S), float32 (float64 for double logits).

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> import torch
        >>> soft_cross_entropy(torch.tensor([[0.0, 1.0986123]]), torch.tensor([[0.5, 0.5]]))  # q = (1/4, 3/4)
        tensor([0.8370])
    """
    _check_target(logits, target)
    log_q = wide(logits).log_softmax(dim=1).clamp(min=-LIMIT)
    return -(target.detach().to(log_q.dtype) * log_q).sum(1)


def soft_target_dice_loss(
    logits: Tensor, target: Tensor, *, include_background: bool = False, smooth: float = 1.0
) -> Tensor:
    """1 minus the soft Dice score with a soft target, for each image; the target is detached.

    `d = (2 sum_i p_ic y_ic + s) / (sum_i p_ic + sum_i y_ic + s)` for each class, averaged over the classes,
    with p = softmax(logits). With a target of 0 and 1 this is `soft_dice_loss`. With a soft one it is not
    smallest at p = y: it pulls p towards 0 or 1, where the cross-entropy asks for y itself.

    Args:
        logits: (B, K, *S), or (B, K) for classification.
        target: same shape, probabilities y.
        include_background: whether class 0 counts.
        smooth: s, above 0; a class that is neither in the target nor predicted scores 1.

    Returns:
        (B,), 0..1.

    Raises:
        ConfigError: `smooth` is not above 0.
        ValueError: the shapes differ, or only the background is left to count.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])  # one image, two classes, two pixels
        >>> soft_target_dice_loss(torch.zeros(1, 2, 2), target)  # 1 - (2 * 0.25 + 1) / (1 + 0.5 + 1)
        tensor([0.4000])
    """
    _check_target(logits, target)
    check_positive("smooth", smooth)
    first = 0 if include_background else 1
    p = wide(logits).softmax(dim=1)[:, first:].unsqueeze(-1).flatten(2)
    y = target.detach().to(p.dtype)[:, first:].unsqueeze(-1).flatten(2)
    score = (2 * (p * y).sum(2) + smooth) / (p.sum(2) + y.sum(2) + smooth)
    return (1 - score).mean(1)


def _check_target(logits: Tensor, target: Tensor) -> None:
    if logits.ndim < 2 or logits.shape[1] < 2 or logits.shape != target.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and soft target {tuple(target.shape)} must share one shape "
            "(B, K, *S) with K of 2 or more"
        )


class SoftCrossEntropy(nn.Module):
    """`soft_cross_entropy` as a module.

    Example:
        >>> import torch
        >>> SoftCrossEntropy()(torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.5)).shape
        torch.Size([1, 4, 4])
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Per-pixel cross-entropy (B, *S)."""
        return soft_cross_entropy(logits, target)


class SoftTargetDiceLoss(nn.Module):
    """`soft_target_dice_loss` with its arguments stored.

    Example:
        >>> import torch
        >>> SoftTargetDiceLoss()(torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 0.5)).shape
        torch.Size([1])
    """

    def __init__(self, *, include_background: bool = False, smooth: float = 1.0) -> None:
        super().__init__()
        self.include_background = include_background
        self.smooth = check_positive("smooth", smooth)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of each image (B,)."""
        return soft_target_dice_loss(
            logits, target, include_background=self.include_background, smooth=self.smooth
        )
