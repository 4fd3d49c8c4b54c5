"""Cases with next to no target: Wang et al. 2021 (NAKT, arXiv 2101.09560) call the number of pixels alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.exclusion.base import Answers, Rule, check_maps, not_above

REFERENCE_PIXELS = 256 * 256
"""Pixels of the map that alpha is meant for."""


def target_pixels(probabilities: Tensor) -> Tensor:
    """How many pixels have another class than the background as their most likely one, as at 256 x 256.

    With two classes these are the pixels whose foreground probability is above 0.5. Counts are scaled by the
    size of the map, so that they stand for the same share of it: 256 is 1/256 of an image or a volume.

    Args:
        probabilities: (B, K, *S).

    Returns:
        (B,) float32.

    Raises:
        ConfigError: there is one answer per image.

    Example:
        >>> import torch
        >>> foreground = torch.tensor([[[0.9, 0.5], [0.2, 0.1]]])  # one pixel of four
        >>> target_pixels(torch.stack([1 - foreground, foreground], dim=1))
        tensor([16384.])
    """
    found = check_maps(probabilities, TargetPixels.name).argmax(1).flatten(1)
    return (found != 0).sum(1) * (REFERENCE_PIXELS / found.shape[1])


@dataclass(frozen=True)
class TargetPixels(Rule):
    """Removes a case whose mask has fewer than `alpha` target pixels.

    Args:
        alpha: pixels at 256 x 256; maps of another size need the same share of theirs. The value is the
            paper's as far as it is known.

    Raises:
        ConfigError: `alpha` is below 0 or above the whole map.

    Example:
        >>> import torch
        >>> TargetPixels(alpha=10).keeps(torch.tensor([[9.0], [10.0]]))
        tensor([False,  True])
    """

    name: ClassVar[str] = "target_pixels"
    alpha: float = 256.0

    def __post_init__(self) -> None:
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not number or not 0 <= self.alpha <= REFERENCE_PIXELS:
            raise ConfigError(
                f"alpha must be a number of pixels in 0..{REFERENCE_PIXELS}, got {self.alpha!r}"
            )

    def measure(self, answers: Answers) -> Tensor:
        """The target pixels (B, 1) at 256 x 256."""
        return target_pixels(answers.probabilities).unsqueeze(1)

    def keeps(self, measured: Tensor) -> Tensor:
        """Those with `alpha` pixels or more."""
        return measured[:, 0] >= self.alpha

    @property
    def removes(self) -> str:
        """Fewer than alpha target pixels."""
        return f"fewer than {self.alpha:g} target pixels at 256 x 256"

    def relax(self, measured: Tensor) -> str:
        """The largest target, and an alpha that keeps it."""
        most = float(measured[:, 0].max())
        if not most:
            return "every mask is empty: check what the teachers say about these images, see --teacher.floor"
        return f"the largest target has {most:.0f} pixels; lower alpha to {not_above(most):g} or less"
