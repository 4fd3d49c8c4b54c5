"""Cases about which the teachers disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meddistill.errors import ConfigError
from meddistill.exclusion.base import Answers, AtMost
from meddistill.losses.checks import check_positive


def disagreement(members: Tensor) -> Tensor:
    """Generalised Jensen-Shannon divergence of M answers, in bits, averaged over the pixels.

    The entropy of their mean less the mean of their entropies (Lin 1991, equation 5.1, with equal weights): 0
    where all say the same, log2 M where each is sure of another class.

    Args:
        members: probabilities (M, B, K, *S), or (M, B, K) for one answer per image.

    Returns:
        (B,) float32, 0..log2 M.

    Example:
        >>> disagreement(torch.tensor([[[1.0, 0.0], [0.7, 0.3]], [[0.0, 1.0], [0.7, 0.3]]]))
        tensor([1., 0.])
    """
    p = members.float().clamp(0, 1)
    mean_of_entropies = torch.special.entr(p).sum(2).mean(0)
    bits: Tensor = (torch.special.entr(p.mean(0)).sum(1) - mean_of_entropies) / math.log(2)
    return bits.clamp(min=0).unsqueeze(-1).flatten(1).mean(1)


@dataclass(frozen=True)
class Disagreement(AtMost):
    """Removes a case about whose pixels the teachers disagree by more than `at_most` on average.

    For teachers that know the same classes: one that does not know a class says background there.

    Args:
        at_most: limit in bits, above 0 (log2 of the number of teachers keeps all). There is no published
            value; masks that differ in 5 % of the pixels and are sure of them measure 0.05.

    Raises:
        ConfigError: `at_most` is not above 0.

    Example:
        >>> Disagreement(at_most=0.1).keeps(torch.tensor([[0.1], [0.4]]))
        tensor([ True, False])
    """

    name: ClassVar[str] = "disagreement"
    needs_members: ClassVar[bool] = True
    option: ClassVar[str] = "at_most"
    quantity: ClassVar[str] = "disagreement"
    at_most: float = 0.05

    def __post_init__(self) -> None:
        check_positive("at_most", self.at_most)

    def measure(self, answers: Answers) -> Tensor:
        """The disagreement (B, 1) in bits.

        Raises:
            ConfigError: there is only one teacher.
        """
        if answers.members is None or len(answers.members) < 2:
            raise ConfigError(
                "rule disagreement compares several teachers, and there is one; give teacher.members, "
                "or leave the rule out of exclude"
            )
        return disagreement(answers.members).unsqueeze(1)
