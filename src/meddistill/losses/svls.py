"""Spatially varying label smoothing (Islam and Glocker 2021, "Spatially Varying Label Smoothing")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    check_maps(labels)
    weights, total = class_weights(labels, num_classes, Kernel(labels.ndim - 1, kernel_size, sigma, centre))
    return weights / total.unsqueeze(1)


@dataclass(frozen=True)
class Kernel:
    """The kernel of `label_smoothing_map`, scaled so that a pixel at distance r weighs exp(-r^2 / 2 sigma^2).

    Raises:
        ConfigError: an argument is out of range.

    Example:
        >>> Kernel(dims=2).middle, Kernel(dims=2).weight(2)
        (3.897..., 0.367...)
    """

    dims: int
    size: int = 3
    sigma: float = 1.0
    centre: Centre = "middle"

    def __post_init__(self) -> None:
        check_choice("centre", self.centre, ("middle", "corner"))
        if check_count("kernel_size", self.size) < 3 or self.size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd and at least 3, got {self.size}")
        check_positive("sigma", self.sigma)
        if self.middle < 1e-6:
            raise ConfigError(
                f"sigma {self.sigma} leaves the neighbours of a pixel no weight: give a larger one"
            )

    @property
    def radius(self) -> int:
        """Pixels from the middle to the edge."""
        return self.size // 2

    @property
    def middle(self) -> float:
        """The weight of the pixel itself: that of all others together, if `centre` is "middle"."""
        profile = [self.weight(offset**2) for offset in range(-self.radius, self.radius + 1)]
        left_out = 0 if self.centre == "middle" else self.radius - 1
        return sum(profile) ** self.dims - self.weight(self.dims * left_out**2)

    def weight(self, squared_distance: int) -> float:
        """The weight of another pixel."""
        return math.exp(-squared_distance / (2 * self.sigma**2))


def check_maps(labels: Tensor) -> None:
    """Refuse labels that are not (B, H, W) or (B, D, H, W).

    Raises:
        ValueError: they are not.
    """
    if labels.ndim not in (3, 4):
        raise ValueError(
            f"labels {tuple(labels.shape)} are no maps: expected (B, H, W) or (B, D, H, W); "
            "paced distillation without maps takes mode 'tpl', which masks no boundaries"
        )


def class_weights(labels: Tensor, num_classes: int, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """The weight of the kernel on the pixels of each class, (B, K, *S), and on all labelled ones, (B, *S).

    The latter is infinite at ignored pixels, so that their shares become 0.
    """
    label, known = known_labels(labels, num_classes)
    classes = torch.arange(num_classes, dtype=label.dtype, device=label.device)
    one_hot = label.new_empty((label.shape[0], num_classes, *label.shape[1:]))
    torch.eq(label.unsqueeze(1), classes.view(-1, *[1] * kernel.dims), out=one_hot)
    weights = spread(one_hot, kernel)
    return weights, weights.sum(1).clamp_(min=kernel.middle).div_(known)


def known_labels(labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The labels as numbers, and 1 where they are one of the classes, else 0; both float32.

    Example:
        >>> known_labels(torch.tensor([0, 2, 3, -100]), 3)[1]
        tensor([1., 1., 0., 0.])
    """
    label = labels.to(torch.float32)
    return label, label.clamp(0, num_classes - 1).eq_(label)


def replicate(maps: Tensor, kernel: Kernel) -> Tensor:
    """Maps (*, *, *S) with their borders repeated as far as the kernel reaches.

    Example:
        >>> replicate(torch.tensor([[[[1.0, 2.0]]]]), Kernel(dims=2))
        tensor([[[[1., 1., 2., 2.],
                  [1., 1., 2., 2.],
                  [1., 1., 2., 2.]]]])
    """
    return F.pad(maps, (kernel.radius,) * 2 * kernel.dims, mode="replicate")


def crop(maps: Tensor, kernel: Kernel) -> Tensor:
    """The inverse of `replicate`; maps (..., *S).

    Example:
        >>> crop(torch.zeros(1, 5, 6), Kernel(dims=2)).shape
        torch.Size([1, 3, 4])
    """
    for axis in range(-kernel.dims, 0):
        maps = maps.narrow(axis, kernel.radius, maps.shape[axis] - 2 * kernel.radius)
    return maps


def spread(maps: Tensor, kernel: Kernel) -> Tensor:
    """Each of the maps (*, *, *S) convolved with the kernel, borders replicated.

    In padded maps laid out in a row, a neighbour is a fixed step away, so that an axis costs a few sums of
    slices, which autocast leaves in float32.

    Example:
        >>> spread(torch.tensor([[[[0.0, 1.0, 0.0]]]]), Kernel(dims=2))
        tensor([[[[1.3423, 5.1107, 1.3423]]]])
    """
    padded = replicate(maps, kernel)
    row = padded.view(-1)
    for step in padded.stride()[2:]:
        distances = [(far, far * step) for far in range(1, kernel.radius + 1)]
        pairs = [row[2 * shift :] + row[: -2 * shift] for _, shift in distances]
        for (far, shift), pair in zip(distances, pairs, strict=True):
            row[shift:-shift].add_(pair, alpha=kernel.weight(far**2))
    return crop(padded, kernel).add(maps, alpha=kernel.middle - 1)


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
