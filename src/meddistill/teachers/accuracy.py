"""What a teacher that answers once per image scores on labelled images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError, TeacherError
from meddistill.teachers.check import LIKELY_CAUSES, DiceTally, TeacherCheck, per_class
from meddistill.teachers.labels import LabelCheck, LabelTally


@dataclass(frozen=True)
class AccuracyCheck:
    """Scores of a teacher that answers once per image.

    Args:
        name: the teacher.
        cases: labelled images that were scored.
        recall: share of the images of each class that it recognised; NaN where there is none.
        counts: images of each class.
        accuracy: share of all images that it recognised.
        floor: what the accuracy had to reach, or None.
        class_names: name of each class, where they are known.
    """

    name: str
    cases: int
    recall: tuple[float, ...]
    counts: tuple[int, ...]
    accuracy: float
    floor: float | None = None
    class_names: tuple[str, ...] = ()

    @property
    def class_scores(self) -> tuple[float, ...]:
        """Recall of each class."""
        return self.recall

    def score_over(self, known: Sequence[bool]) -> float:
        """Accuracy on the images of the classes that are `known`; NaN where there are none."""
        used = [
            (r, n) for r, n, is_known in zip(self.recall, self.counts, known, strict=True) if is_known and n
        ]
        total = sum(n for _, n in used)
        return sum(r * n for r, n in used) / total if total else math.nan

    def summary(self, split: str = "") -> str:
        """One line for people.

        Example:
            >>> AccuracyCheck("t", 4, (1.0, 0.5), (2, 2), 0.75).summary("selection")
            "teacher 't': accuracy 0.7500 on 4 selection cases (class 0 1.0000, class 1 0.5000)"
        """
        where = f"{self.cases} {split} cases" if split else f"{self.cases} cases"
        classes = per_class(self.recall, self.class_names, first=0)
        return f"teacher {self.name!r}: accuracy {self.accuracy:.4f} on {where} ({classes})"

    def __str__(self) -> str:
        return self.summary()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class AccuracyTally:
    """Counts of recognised images, batch by batch.

    Args:
        num_classes: K.

    Example:
        >>> tally = AccuracyTally(num_classes=2)
        >>> tally.update(torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1]))
        >>> round(tally.result("teacher").accuracy, 4)
        0.6667
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._right = torch.zeros(num_classes, dtype=torch.int64)
        self._counts = torch.zeros(num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Score a batch of classes (B,); images of unknown class do not count.

        Raises:
            DataError: the labels are of another shape or out of range.
        """
        if prediction.shape != label.shape:
            raise DataError(
                f"labels of shape {tuple(label.shape)} do not fit a teacher that answers once per image; "
                "give one label per image, or a teacher that segments"
            )
        known = label != IGNORE_INDEX
        if (
            bool(known.any())
            and not 0 <= int(label[known].min()) <= int(label[known].max()) < self.num_classes
        ):
            raise DataError(f"the labels hold classes outside 0..{self.num_classes - 1}")
        right = label[known & (prediction == label)]
        self._right += torch.bincount(right.cpu(), minlength=self.num_classes)
        self._counts += torch.bincount(label[known].cpu(), minlength=self.num_classes)

    def result(
        self, name: str, *, floor: float | None = None, class_names: Sequence[str] = ()
    ) -> AccuracyCheck:
        """The scores so far.

        Raises:
            TeacherError: no labelled image, or an accuracy below `floor`.
        """
        cases = int(self._counts.sum())
        if not cases:
            raise TeacherError(f"teacher {name!r} cannot be checked: no case is labelled")
        recall = tuple((self._right.double() / self._counts).tolist())
        accuracy = int(self._right.sum()) / cases
        check = AccuracyCheck(
            name, cases, recall, tuple(self._counts.tolist()), accuracy, floor, tuple(class_names)
        )
        if floor is not None and accuracy < floor:
            raise TeacherError(
                f"teacher {name!r} has an accuracy of {accuracy:.4f} on {cases} labelled cases, below the "
                f"floor of {floor}; {LIKELY_CAUSES}"
            )
        return check


Check = TeacherCheck | AccuracyCheck | LabelCheck
"""Scores of a teacher of any task."""


class ScoreTally:
    """Dice, accuracy or AUROC, batch by batch, as logits and labels ask for it.

    Args:
        num_classes: K, background included.

    Example:
        >>> tally = ScoreTally(num_classes=2)
        >>> tally.update(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
        >>> tally.result("teacher").summary()
        "teacher 'teacher': accuracy 0.5000 on 2 cases (class 0 0.0000, class 1 1.0000)"
    """

    def __init__(self, num_classes: int) -> None:
        self._tally: DiceTally | AccuracyTally | LabelTally = DiceTally(num_classes)

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Score a batch of logits (B, K, *S) against labels (B, *S); unknown labels do not count.

        Logits (B, K) answer once per image: about its class where labels are (B,), about labels that do not
        exclude each other where they are (B, K).

        Raises:
            DataError: the labels do not fit the logits.
        """
        if logits.ndim == 2 and isinstance(self._tally, DiceTally):
            kind = LabelTally if label.ndim == 2 else AccuracyTally
            self._tally = kind(self._tally.num_classes)
        if isinstance(self._tally, LabelTally):
            self._tally.update(logits, label)
        else:
            self._tally.update(logits.argmax(dim=1), label)

    def result(self, name: str, *, floor: float | None = None, class_names: Sequence[str] = ()) -> Check:
        """The scores so far.

        Raises:
            TeacherError: no labelled case, or a score below `floor`.
        """
        return self._tally.result(name, floor=floor, class_names=class_names)
