"""What a teacher scores on labelled data, and whether that is enough to learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError, TeacherError

LIKELY_CAUSES = (
    "likely causes: other normalisation (mean, std) or image size than in its training, another class order "
    "(class_map), or weights of another task"
)


@dataclass(frozen=True)
class TeacherCheck:
    """Scores of a teacher.

    Args:
        name: the teacher.
        cases: labelled cases that were scored.
        dice: mean Dice of each foreground class over the cases where it is defined; NaN where it never is.
        counts: cases behind each of these means. A class absent from label and prediction is not counted.
        mean_dice: mean of the defined `dice`.
        floor: what the mean had to reach, or None.
        class_names: name of each class, background included, where they are known.
    """

    name: str
    cases: int
    dice: tuple[float, ...]
    counts: tuple[int, ...]
    mean_dice: float
    floor: float | None = None
    class_names: tuple[str, ...] = ()

    @property
    def class_scores(self) -> tuple[float, ...]:
        """Dice of each class; NaN for the background, which is not scored."""
        return (math.nan, *self.dice)

    def score_over(self, known: Sequence[bool]) -> float:
        """Mean of the defined Dice scores of the foreground classes that are `known`; NaN without any."""
        pairs = zip(self.class_scores, known, strict=True)
        scores = [score for score, is_known in pairs if is_known and not math.isnan(score)]
        return sum(scores) / len(scores) if scores else math.nan

    def summary(self, split: str = "") -> str:
        """One line for people.

        Example:
            >>> check = TeacherCheck("t", 4, (0.5, 0.7), (4, 3), 0.6, class_names=("bg", "liver", "tumour"))
            >>> check.summary("selection")
            "teacher 't': mean Dice 0.6000 on 4 selection cases (liver 0.5000, tumour 0.7000)"
        """
        where = f"{self.cases} {split} cases" if split else f"{self.cases} cases"
        classes = per_class(self.dice, self.class_names, first=1)
        return f"teacher {self.name!r}: mean Dice {self.mean_dice:.4f} on {where} ({classes})"

    def __str__(self) -> str:
        return self.summary()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class DiceTally:
    """Sums of per-case Dice scores, batch by batch.

    Args:
        num_classes: K, background included; classes 1..K-1 are scored.

    Example:
        >>> tally = DiceTally(num_classes=2)
        >>> tally.update(torch.tensor([[1, 1, 0, 0]]), torch.tensor([[1, 0, 0, 0]]))
        >>> round(tally.result("teacher").mean_dice, 4)
        0.6667
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.cases = 0
        self._sums = torch.zeros(num_classes - 1, dtype=torch.float64)
        self._counts = torch.zeros(num_classes - 1, dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Score a batch of integer maps (B, *S); unknown pixels and cases do not count.

        Raises:
            DataError: the shapes disagree.
        """
        if label.ndim < prediction.ndim:
            raise DataError(
                f"labels of whole images (shape {tuple(label.shape)}) do not fit a teacher that answers for "
                "each pixel; give one that answers once per image"
            )
        if prediction.shape != label.shape:
            raise DataError(
                f"labels of shape {tuple(label.shape)} do not fit images of {tuple(prediction.shape)}"
            )
        known = (label != IGNORE_INDEX).flatten(1)
        self.cases += int(known.any(dim=1).sum())
        for k in range(1, self.num_classes):
            predicted = (prediction == k).flatten(1) & known
            true = (label == k).flatten(1) & known
            size = (predicted.sum(dim=1) + true.sum(dim=1)).cpu().double()
            overlap = (predicted & true).sum(dim=1).cpu().double()
            present = size > 0
            self._sums[k - 1] += (2 * overlap[present] / size[present]).sum()
            self._counts[k - 1] += int(present.sum())

    def result(
        self, name: str, *, floor: float | None = None, class_names: Sequence[str] = ()
    ) -> TeacherCheck:
        """The scores so far.

        Raises:
            TeacherError: no labelled case, no case with a foreground class, or a mean below `floor`.
        """
        if not self.cases:
            raise TeacherError(f"teacher {name!r} cannot be checked: no case is labelled")
        if floor is not None and not bool(self._counts.any()):
            raise TeacherError(
                f"teacher {name!r} cannot be checked: no case shows a class but the background"
            )
        dice = self._sums / self._counts
        mean = float(dice.nanmean())
        check = TeacherCheck(
            name,
            self.cases,
            tuple(dice.tolist()),
            tuple(self._counts.tolist()),
            mean,
            floor,
            tuple(class_names),
        )
        if floor is not None and not mean >= floor:
            raise TeacherError(_too_low(check))
        return check


def per_class(scores: Sequence[float], class_names: Sequence[str], *, first: int) -> str:
    """Scores of the classes from `first` on, as text with their names.

    Example:
        >>> per_class([0.5, 0.25], [], first=1)
        'class 1 0.5000, class 2 0.2500'
    """
    names = [
        class_names[k] if k < len(class_names) else f"class {k}" for k in range(first, first + len(scores))
    ]
    return ", ".join(f"{name} {score:.4f}" for name, score in zip(names, scores, strict=True))


def _too_low(check: TeacherCheck) -> str:
    return (
        f"teacher {check.name!r} scores a mean Dice of {check.mean_dice:.4f} on {check.cases} labelled "
        f"cases, below the floor of {check.floor}; {LIKELY_CAUSES}"
    )
