"""What is kept of answers, pixel by pixel: the class, the probability of a structure, the uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from meddistill.evaluation.uncertainty import Mixture, case_uncertainty

MEASURES: Mapping[str, Callable[[Mixture], Tensor]] = {
    "entropy": Mixture.entropy,
    "disagreement": Mixture.disagreement,
}
"""Measures of uncertainty by name."""


class Maps(NamedTuple):
    """What is kept of the answers about some images, or about a part of a volume.

    Args:
        prediction: (B, *S) the class with the largest probability.
        foreground: (B, *S) probability of any class but the first.
        uncertainty: for each measure (B, *S) in 0..1.

    Example:
        >>> logits = torch.tensor([[[[0.0, 9.0]], [[0.0, -9.0]]]])
        >>> maps = Maps.of_answers(logits).of(0)
        >>> maps.prediction.tolist(), maps.uncertainty["entropy"].round(decimals=2).tolist()
        ([[0, 0]], [[1.0, 0.0]])
        >>> round(maps.of_case("entropy"), 2)
        0.5
    """

    prediction: Tensor
    foreground: Tensor
    uncertainty: Mapping[str, Tensor]

    @classmethod
    def of_answers(
        cls, logits: Tensor, answers: Iterable[Tensor] = (), measures: Sequence[str] = ("entropy",)
    ) -> Maps:
        """Those of logits (B, K, *S), on the CPU.

        Args:
            logits: the answer.
            answers: logits whose mixture tells how uncertain it is; without any the answer itself.
            measures: names in `MEASURES`.

        Raises:
            DataError: logits that are not finite.
        """
        mixture = Mixture()
        for answer in answers:
            mixture.add(answer)
        if not mixture.answers:
            mixture.add(logits)
        probabilities = logits.float().softmax(dim=1)
        found = {name: MEASURES[name](mixture).cpu() for name in measures}
        prediction = logits.max(dim=1).indices  # on a CPU ten times as fast as argmax
        return cls(prediction.cpu(), 1 - probabilities[:, 0].cpu(), found)

    @classmethod
    def empty(cls, shape: Sequence[int], measures: Sequence[str] = ("entropy",)) -> Maps:
        """Those of one case (*S), to be filled part by part."""
        uncertainty = {name: torch.zeros(*shape) for name in measures}
        return cls(torch.zeros(*shape, dtype=torch.int16), torch.zeros(*shape), uncertainty)

    def of(self, index: int) -> Maps:
        """Those of one image, without the axis of the batch."""
        of_one = {name: values[index] for name, values in self.uncertainty.items()}
        return Maps(self.prediction[index], self.foreground[index], of_one)

    def fill(self, where: tuple[slice, ...], part: Maps) -> None:
        """Take over the maps of a part of a case."""
        self.prediction[where] = part.prediction.to(self.prediction.dtype)
        self.foreground[where] = part.foreground
        for name, values in part.uncertainty.items():
            self.uncertainty[name][where] = values

    def of_case(self, measure: str, *, dense: bool = True) -> float:
        """The uncertainty of a case, of which these are the maps (*S).

        Args:
            measure: one of the names.
            dense: whether the axes are those of an image; else the mean over all answers is taken.
        """
        uncertainty = self.uncertainty[measure]
        if not dense:
            return float(uncertainty.mean())
        return case_uncertainty(uncertainty, self.prediction, self.foreground)
