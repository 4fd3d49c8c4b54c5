"""How uncertain answers are, pixel by pixel and case by case.

Sources: Gal and Ghahramani, "Dropout as a Bayesian Approximation" (ICML 2016), and Depeweg et al.,
"Decomposition of Uncertainty in Bayesian Deep Learning" (ICML 2018), section 3: the entropy of the mean
answer is the mean entropy of the answers plus what they disagree about (the mutual information). Both are
divided by log K here, so that they lie in 0..1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.errors import DataError

BORDER = 2
"""How many pixels round a predicted structure belong to it when its uncertainty is measured."""


class Mixture:
    """The mean of several answers about the same images, which are added one at a time.

    Example:
        >>> mixture = Mixture()
        >>> mixture.add(torch.tensor([[9.0, -9.0]]))
        >>> mixture.add(torch.tensor([[-9.0, 9.0]]))
        >>> mixture.entropy().round(decimals=3), mixture.disagreement().round(decimals=3)
        (tensor([1.]), tensor([1.]))
    """

    def __init__(self) -> None:
        self.answers = 0
        self._probabilities = self._entropies = torch.zeros(())

    def add(self, logits: Tensor) -> None:
        """One answer, logits (B, K, *S).

        Raises:
            DataError: they are not finite.
        """
        if not bool(logits.isfinite().all()):
            raise DataError("the logits hold NaN or infinity")
        probabilities = logits.float().softmax(dim=1)
        self._probabilities = self._probabilities.to(logits.device) + probabilities
        self._entropies = self._entropies.to(logits.device) + _entropy(probabilities)
        self.answers += 1

    def entropy(self) -> Tensor:
        """(B, *S) entropy of the mean answer, over log K."""
        return _entropy(self._probabilities / self.answers).clamp(0, 1)

    def disagreement(self) -> Tensor:
        """(B, *S) mutual information of answer and answerer, over log K; 0 where all answer alike."""
        return (self.entropy() - self._entropies / self.answers).clamp(0, 1)


def case_uncertainty(
    uncertainty: Tensor, prediction: Tensor, foreground: Tensor, *, border: int = BORDER
) -> float:
    """Mean uncertainty over the predicted structure and its border, the uncertainty of one case.

    The background far from the structure, which everybody is sure of, does not count. Where nothing is
    predicted the structure is taken to be the one pixel that is most likely foreground, so that a structure
    that was nearly found makes the case uncertain.

    Args:
        uncertainty: (*S) of 2 or 3 axes.
        prediction: (*S) classes, 0 for the background.
        foreground: (*S) probability of any foreground class.
        border: how many pixels the structure is widened by along each axis.

    Example:
        >>> uncertain, nothing = torch.zeros(1, 9), torch.zeros(1, 9, dtype=torch.long)
        >>> uncertain[0, 4] = 1
        >>> case_uncertainty(uncertain, nothing, uncertain, border=1)
        0.3333333432674408
    """
    inside = prediction > 0
    if not bool(inside.any()):
        inside = torch.zeros_like(inside)
        inside.view(-1)[foreground.argmax()] = True
    pool = F.max_pool2d if inside.ndim == 2 else F.max_pool3d
    wide = pool(inside[None, None].float(), 2 * border + 1, stride=1, padding=border)[0, 0] > 0
    return float(uncertainty[wide].float().mean())


def _entropy(probabilities: Tensor) -> Tensor:
    """(B, *S) Shannon entropy over log K."""
    entropy: Tensor = torch.special.entr(probabilities).sum(dim=1)
    return entropy / math.log(probabilities.shape[1])
