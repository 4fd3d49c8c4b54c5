"""Spatially varying label smoothing (Islam and Glocker 2021, "Spatially Varying Label Smoothing")."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError
from meddistill.losses.checks import check_choice, check_count, check_positive

Centre = Literal["middle", "corner"]


def label_smoothing_map(
    labels: Tensor,
    num_classes: int,
    *,
    kernel_size: int = 3,
    sigma: float = 1.0,
    centre: Centre = "middle",
) -> Tensor:
    """Soft labels in which a pixel keeps half of its weight and its Gaussian neighbourhood shares the rest.

    With g the normalised Gaussian and g_0 its centre, the kernel is g / (1 - g_0) around a centre of 1,
    divided by its sum of 2: the centre's share is exactly 0.5. Borders are replicated. Inside a region the
    map is one-hot; with the default kernel a pixel on a straight edge keeps 0.8278, and an isolated pixel
    0.5.

    Labels outside 0..K-1 (such as -100) are ignored: they pass nothing on, the weights of their labelled
    neighbours are scaled up to sum to 1, and their own map is 0 for every class.

    Args:
        labels: (B, H, W) or (B, D, H, W) integers.
        num_classes: K.
        kernel_size: odd, at least 3.
        sigma: width of the Gaussian in pixels.
        centre: which kernel element counts as g_0 in the sum over the neighbours. "middle" is right;
            "corner" takes element [1, 1] whatever the size, as the released code does, and agrees with it
            only for size 3.

    Returns:
        (B, K, *S) float32, summing to 1 over the classes at labelled pixels.

    Raises:
        ConfigError: the kernel size is even or below 3, sigma not above 0, or the centre unknown.
        ValueError: the labels are not 2D or 3D maps.

    Example:
        >>> labels = torch.tensor([[[0, 0, 1, 1]] * 4])
        >>> label_smoothing_map(labels, 2)[0, 0, 1]
        tensor([1.0000, 0.8278, 0.1722, 0.0000])
    """
    check_count("num_classes", num_classes)
    if labels.ndim not in (3, 4):
        raise ValueError(
            f"labels {tuple(labels.shape)} are no maps: expected (B, H, W) or (B, D, H, W); "
            "paced distillation without maps takes mode 'tpl', which masks no boundaries"
        )
    dims = labels.ndim - 1
    profile = _gaussian(kernel_size, check_positive("sigma", sigma))
    middle = profile[kernel_size // 2] ** dims
    excluded = (
        profile[1] ** dims if check_choice("centre", centre, ("middle", "corner")) == "corner" else middle
    )

    classes = torch.arange(num_classes, device=labels.device).view(1, -1, *[1] * dims)
    one_hot = (labels.unsqueeze(1) == classes).float()
    smooth = one_hot
    for axis in range(2, 2 + dims):
        smooth = _convolve(smooth, profile, axis)
    weights = (smooth - middle * one_hot) / (1 - excluded) + one_hot
    known = one_hot.sum(1, keepdim=True)
    return weights * known / weights.sum(1, keepdim=True).clamp(min=0.5)


def _gaussian(size: int, sigma: float) -> list[float]:
    if check_count("kernel_size", size) < 3 or size % 2 == 0:
        raise ConfigError(f"kernel_size must be odd and at least 3, got {size}")
    values = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [value / sum(values) for value in values]


def _convolve(x: Tensor, profile: list[float], axis: int) -> Tensor:
    """Replicate-padded convolution along one axis; a sum of slices, which autocast leaves in float32."""
    size, radius = x.shape[axis], len(profile) // 2
    padded = torch.cat(
        [x.narrow(axis, 0, 1)] * radius + [x] + [x.narrow(axis, size - 1, 1)] * radius, dim=axis
    )
    result = torch.zeros_like(x)
    for offset, weight in enumerate(profile):
        result.add_(padded.narrow(axis, offset, size), alpha=weight)
    return result


class LabelSmoothingMap(nn.Module):
    """`label_smoothing_map` with its arguments stored.

    Example:
        >>> LabelSmoothingMap(3)(torch.zeros(1, 4, 4, 4, dtype=torch.long)).shape
        torch.Size([1, 3, 4, 4, 4])
    """

    def __init__(
        self, num_classes: int, *, kernel_size: int = 3, sigma: float = 1.0, centre: Centre = "middle"
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.centre: Centre = centre

    def forward(self, labels: Tensor) -> Tensor:
        """Soft labels (B, K, *S) of labels (B, *S)."""
        return label_smoothing_map(
            labels, self.num_classes, kernel_size=self.kernel_size, sigma=self.sigma, centre=self.centre
        )
