"""Shannon entropy of the predicted class distribution, a measure of prediction uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meddistill.losses.checks import wide


def prediction_entropy(logits: Tensor) -> Tensor:
    """Per-pixel entropy -sum_c p_c log p_c of softmax(logits), in nats, between 0 and log C.

    Args:
        logits: (B, C, *S), or (B, C) for classification.

    Returns:
        (B, *S), float32 (float64 for double logits).

    Raises:
        ValueError: the logits have no class axis.

    Example:
        >>> prediction_entropy(torch.tensor([[0.0, 0.0], [1000.0, 0.0]]))
        tensor([0.6931, 0.0000])
    """
    if logits.ndim < 2:
        raise ValueError(f"logits {tuple(logits.shape)} have no class axis: expected (B, C, *S)")
    log_probability = torch.log_softmax(wide(logits), dim=1)
    return (log_probability.exp() * -log_probability).sum(1)


class PredictionEntropy(nn.Module):
    """`prediction_entropy` as a module.

    Example:
        >>> PredictionEntropy()(torch.zeros(1, 3, 4, 4, 4)).shape
        torch.Size([1, 4, 4, 4])
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Per-pixel entropy (B, *S)."""
        return prediction_entropy(logits)
