"""What a teacher scores on labels that do not exclude each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import DataError, TeacherError
from meddistill.evaluation.ranking import Ranking
from meddistill.teachers.check import LIKELY_CAUSES, per_class


@dataclass(frozen=True)
class LabelCheck:
    """Scores of a teacher that says of each label whether it holds.

    Args:
        name: the teacher.
        cases: images of which some label is known.
        auroc: area under the ROC curve of each label; NaN where it holds for all known images or for none.
        counts: images for which each label holds.
        mean_auroc: mean of the defined `auroc`.
        floor: what the mean had to reach, or None.
        class_names: name of each label, where they are known.
    """

    name: str
    cases: int
    auroc: tuple[float, ...]
    counts: tuple[int, ...]
    mean_auroc: float
    floor: float | None = None
    class_names: tuple[str, ...] = ()

    @property
    def class_scores(self) -> tuple[float, ...]:
        """AUROC of each label."""
        return self.auroc

    def score_over(self, known: Sequence[bool]) -> float:
        """Mean of the defined AUROC of the labels that are `known`; NaN without any."""
        return _mean([area for area, is_known in zip(self.auroc, known, strict=True) if is_known])

    def summary(self, split: str = "") -> str:
        """One line for people.

        Example:
            >>> LabelCheck("t", 4, (1.0, 0.5), (2, 1), 0.75).summary("selection")
            "teacher 't': mean AUROC 0.7500 on 4 selection cases (class 0 1.0000, class 1 0.5000)"
        """
        where = f"{self.cases} {split} cases" if split else f"{self.cases} cases"
        labels = per_class(self.auroc, self.class_names, first=0)
        return f"teacher {self.name!r}: mean AUROC {self.mean_auroc:.4f} on {where} ({labels})"

    def __str__(self) -> str:
        return self.summary()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class LabelTally:
    """Gathers logits and labels, batch by batch.

    Args:
        num_classes: L.

    Example:
        >>> tally = LabelTally(num_classes=2)
        >>> tally.update(torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([[1, 0], [0, 1]]))
        >>> tally.result("teacher").auroc
        (1.0, 1.0)
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._seen: list[tuple[Tensor, Tensor]] = []

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Take in a batch of logits (B, L) and labels (B, L); unknown labels do not count.

        Raises:
            DataError: the shapes disagree, or a label is neither 0 nor 1.
        """
        if logits.shape != label.shape or logits.shape[1] != self.num_classes:
            raise DataError(
                f"labels of shape {tuple(label.shape)} do not fit logits of shape {tuple(logits.shape)}"
            )
        if not bool(((label == 0) | (label == 1) | (label == IGNORE_INDEX)).all()):
            raise DataError("labels that do not exclude each other must be 0 or 1")
        self._seen.append((logits.detach().float().cpu(), label.cpu()))

    def result(self, name: str, *, floor: float | None = None, class_names: Sequence[str] = ()) -> LabelCheck:
        """The scores so far.

        Raises:
            TeacherError: no label is known, or the mean is below `floor`.
        """
        logits, label = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        known, held = (label != IGNORE_INDEX).numpy(), (label == 1).numpy()
        if not known.any():
            raise TeacherError(f"teacher {name!r} cannot be checked: no case is labelled")
        columns = range(self.num_classes)
        rankings = [Ranking(logits[:, k].numpy(), held[:, k], known[:, k]) for k in columns]
        auroc = tuple(float(ranking.auroc()) for ranking in rankings)
        counts, cases = tuple(held.sum(0).tolist()), int(known.any(1).sum())
        check = LabelCheck(name, cases, auroc, counts, _mean(auroc), floor, tuple(class_names))
        if floor is not None and not check.mean_auroc >= floor:
            raise TeacherError(
                f"teacher {name!r} has a mean AUROC of {check.mean_auroc:.4f} on {cases} labelled cases, "
                f"below the floor of {floor}; {LIKELY_CAUSES}"
            )
        return check


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
