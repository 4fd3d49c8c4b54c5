"""Cases about which the teachers are not sure, by the entropy of their masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meddistill.exclusion.base import Answers, AtMost, check_classes, check_maps
from meddistill.losses.checks import check_positive

LEVELS = 256
"""Grey levels of a mask of 8 bits."""


def grey_level_entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy, in bits, of the histogram of the mask's 256 grey levels.

    The grey level of a pixel is round(255 p), with p the probability of the foreground, or for more than two
    classes that of the most likely class. A mask of 0 and 255 alone has the entropy of its foreground share,
    1 bit at most; levels that are all equally frequent have 8 bits.

    Args:
        probabilities: (B, K, *S).

    Returns:
        (B,) float32, 0..8.

    Raises:
        ConfigError: there is one answer per image.

    Example:
        >>> foreground = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])  # shares 3/4 and 1/4
        >>> grey_level_entropy(torch.stack([1 - foreground, foreground], dim=1))
        tensor([0.8113])
    """
    maps = check_maps(probabilities, GreyLevelEntropy.name)
    grey = maps[:, 1] if maps.shape[1] == 2 else maps.amax(1)
    levels = (grey.clamp(0, 1) * (LEVELS - 1)).round().long().flatten(1)
    counts = torch.zeros(len(levels), LEVELS, device=levels.device, dtype=torch.float64)
    counts.scatter_add_(1, levels, counts.new_ones(()).expand(levels.shape))
    share = counts / levels.shape[1]
    return (torch.special.entr(share).sum(1) / math.log(2)).float()


def pixel_entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy of the classes, in bits, averaged over the pixels.

    Args:
        probabilities: (B, K, *S), or (B, K) for one answer per image.

    Returns:
        (B,) float32, 0..log2 K.

    Example:
        >>> pixel_entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([1., 0.])
    """
    bits = torch.special.entr(check_classes(probabilities).clamp(0, 1)).sum(1) / math.log(2)
    return bits.reshape(len(bits), -1).mean(1)


@dataclass(frozen=True)
class GreyLevelEntropy(AtMost):
    """Removes a case whose mask has a grey-level entropy above `beta`.

    Args:
        beta: limit in bits, above 0 (8 bits keep all). The value is the paper's as far as it is known.

    Raises:
        ConfigError: `beta` is not above 0.

    Example:
        >>> GreyLevelEntropy(beta=3).keeps(torch.tensor([[3.0], [3.1]]))
        tensor([ True, False])
    """

    name: ClassVar[str] = "grey_level_entropy"
    option: ClassVar[str] = "beta"
    quantity: ClassVar[str] = "grey-level entropy"
    beta: float = 2.5

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)

    def measure(self, answers: Answers) -> Tensor:
        """The grey-level entropy (B, 1) in bits."""
        return grey_level_entropy(answers.probabilities).unsqueeze(1)


@dataclass(frozen=True)
class PixelEntropy(AtMost):
    """Removes a case whose classes have a mean entropy per pixel above `at_most`.

    Args:
        at_most: limit in bits, above 0 (log2 K keeps all). There is no published value: a mask that is sure
            except for the rim of its target has a few hundredths.

    Raises:
        ConfigError: `at_most` is not above 0.

    Example:
        >>> PixelEntropy().keeps(torch.tensor([[0.05], [0.5]]))
        tensor([ True, False])
    """

    name: ClassVar[str] = "pixel_entropy"
    option: ClassVar[str] = "at_most"
    quantity: ClassVar[str] = "mean entropy per pixel"
    at_most: float = 0.2

    def __post_init__(self) -> None:
        check_positive("at_most", self.at_most)

    def measure(self, answers: Answers) -> Tensor:
        """The mean entropy per pixel (B, 1) in bits."""
        return pixel_entropy(answers.probabilities).unsqueeze(1)
