"""What a teacher scores on labelled data, and whether that is enough to learn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError, TeacherError


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
    """

    name: str
    cases: int
    dice: tuple[float, ...]
    counts: tuple[int, ...]
    mean_dice: float
    floor: float | None = None

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

    def result(self, name: str, *, floor: float | None = None) -> TeacherCheck:
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
            name, self.cases, tuple(dice.tolist()), tuple(self._counts.tolist()), mean, floor
        )
        if floor is not None and not mean >= floor:
            raise TeacherError(_too_low(check))
        return check


def _too_low(check: TeacherCheck) -> str:
    return (
        f"teacher {check.name!r} scores a mean Dice of {check.mean_dice:.4f} on {check.cases} labelled "
        f"cases, below the floor of {check.floor}; likely causes: other normalisation (mean, std) or image "
        "size than in its training, another class order (class_map), or weights of another task"
    )
