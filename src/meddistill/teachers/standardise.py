"""Standardisation of each image by itself, as some networks were trained with."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from meddistill.errors import ConfigError, unknown_name

Standardisation = Literal["minmax", "image", "channel", "image-nonzero", "channel-nonzero"]
"""`minmax`: to 0..1. The others: to mean 0 and standard deviation 1, over the whole image or channel by
channel, and with `-nonzero` over the pixels that are not 0, which stay as they are."""


def check_standardisation(name: str | None) -> None:
    """Refuse a name that is no `Standardisation`.

    Raises:
        ConfigError: it is none; the known ones are listed.
    """
    if name is not None and name not in get_args(Standardisation):
        raise ConfigError(unknown_name("standardise", name, get_args(Standardisation)))


def standardise(image: Tensor, how: Standardisation) -> Tensor:
    """Standardise each image (C, *S) of a batch (B, C, *S). A constant one becomes 0.

    Example:
        >>> standardise(torch.tensor([[[1.0, 3.0]]]), "image").tolist()
        [[[-1.0, 1.0]]]
        >>> standardise(torch.tensor([[[0.0, 1.0, 3.0]]]), "image-nonzero").tolist()
        [[[0.0, -1.0, 1.0]]]
    """
    if how == "minmax":
        axes = tuple(range(1, image.ndim))
        low, high = image.amin(dim=axes, keepdim=True), image.amax(dim=axes, keepdim=True)
        return (image - low) / _no_zero(high - low)
    axes = tuple(range(2 if how.startswith("channel") else 1, image.ndim))
    counted = image != 0 if how.endswith("-nonzero") else torch.ones_like(image, dtype=torch.bool)
    weight = counted.to(image.dtype)
    count = weight.sum(dim=axes, keepdim=True).clamp(min=1)
    mean = (image * weight).sum(dim=axes, keepdim=True) / count
    deviation = (((image - mean) * weight).square().sum(dim=axes, keepdim=True) / count).sqrt()
    return ((image - mean) / _no_zero(deviation)).where(counted, image)


def _no_zero(values: Tensor) -> Tensor:
    return values.where(values != 0, 1.0)
