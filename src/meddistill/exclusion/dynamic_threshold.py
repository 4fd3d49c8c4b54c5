"""Class-wise thresholds that follow how often each class is selected (KD3).

Tang et al., "Distribution shift matters for knowledge distillation with webly collected images" (ICCV 2023,
arXiv 2307.11469), after the code its authors released: a case is selected when its confidence is above
tau A_c / (2 - A_c), with A_c how often its class c is selected over how often the most selected class is. A
rare class needs less confidence, the most frequent one tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from meddistill.exclusion.base import Answers, Rule, not_above
from meddistill.exclusion.dominant import as_columns
from meddistill.losses.checks import check_fraction


def threshold(frequency: Tensor, tau: float) -> Tensor:
    """The confidence that a class needs: tau A / (2 - A), for its relative frequency A in 0..1.

    Example:
        >>> threshold(torch.tensor([1.0, 0.5, 0.0]), tau=0.9)
        tensor([0.9000, 0.3000, 0.0000])
    """
    return tau * frequency / (2 - frequency)


def relative_frequency(counts: Tensor) -> Tensor:
    """A_c = counts_c / max counts, (K,) float32; 1 for all while nothing is selected.

    Example:
        >>> relative_frequency(torch.tensor([10, 5, 0])), relative_frequency(torch.zeros(2))
        (tensor([1.0000, 0.5000, 0.0000]), tensor([1., 1.]))
    """
    most = counts.max()
    return torch.where(most > 0, counts / most.clamp(min=1), 1.0).float()


@dataclass(frozen=True)
class DynamicThreshold(Rule):
    """Removes a case whose confidence is not above the threshold of its dominant class.

    Only the teachers are asked, and thresholds and selection agree: the most selected class has as many cases
    as are above tau, and of each class c the most confident cases stay, as many as are above the threshold
    that their own number gives. Iterating thresholds and selection from A = 1 ends there, unless it goes
    round in circles. Of cases with one confidence the earlier ones stay. `method.dynamic` is the same during
    training, with the student.

    Args:
        tau: threshold of the most selected class, 0..1; KD3 uses 0.95.

    Raises:
        ConfigError: `tau` is not in 0..1.

    Example:
        >>> measured = torch.tensor([[1, 0.96], [1, 0.97], [1, 0.9], [2, 0.5], [2, 0.4], [2, 0.2]])
        >>> DynamicThreshold().keeps(measured)
        tensor([ True,  True, False,  True, False, False])
    """

    name: ClassVar[str] = "dynamic_threshold"
    tau: float = 0.95

    def __post_init__(self) -> None:
        check_fraction("tau", self.tau)

    @property
    def columns(self) -> tuple[str, ...]:
        """Dominant class and confidence in it."""
        return ("dynamic_threshold_class", "dynamic_threshold_confidence")

    def measure(self, answers: Answers) -> Tensor:
        """Dominant class and confidence in it (B, 2)."""
        return as_columns(answers.probabilities)

    def keeps(self, measured: Tensor) -> Tensor:
        """The most confident cases of each class."""
        classes, confidence = measured[:, 0].long(), measured[:, 1]
        kept = torch.zeros(len(measured), dtype=torch.bool)
        above = classes[confidence > self.tau].bincount()
        if not len(above):
            return kept
        most = int(above.max())
        for k in set(classes.tolist()):
            own = (classes == k).nonzero().flatten()
            ranked, order = confidence[own].sort(descending=True, stable=True)
            number = torch.arange(1, len(own) + 1)
            enough = ranked > threshold((number / most).clamp(max=1), self.tau)
            kept[own[order[enough]]] = True
        return kept

    @property
    def removes(self) -> str:
        """Confidence not above the threshold of the class."""
        return f"confidence not above tau A / (2 - A) of the dominant class, tau {self.tau:g}"

    def relax(self, measured: Tensor) -> str:
        """The highest confidence, and a tau that keeps its case."""
        most = float(measured[:, 1].max())
        return f"the highest confidence is {most:.3g}; lower tau below {not_above(most):g}"
