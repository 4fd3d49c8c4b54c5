"""The score on the selection split by which the epoch is chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.task import Task
from meddistill.evaluation.metrics import nanmean
from meddistill.evaluation.overlap import count_overlap, dice_from_counts
from meddistill.evaluation.ranking import Ranking
from meddistill.training.means import WeightedMean


class SelectionScore(nn.Module, ABC):
    """Gathers the answers of an epoch. `column` is its name in the history, `title` that for people."""

    column: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def update(self, logits: Tensor, label: Tensor) -> None:
        """Take in a batch of logits (B, K, *S) and labels."""

    @abstractmethod
    def value(self) -> float:
        """The score of what was taken in; NaN where it is undefined."""

    @abstractmethod
    def reset(self) -> None:
        """Forget it."""


class DiceScore(SelectionScore):
    """Mean Dice of the foreground classes; cases empty in both masks have no Dice.

    Args:
        num_classes: K, background included.
    """

    column = "selection_dice"
    title = "selection Dice"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.mean = WeightedMean()

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Take in a batch of logits (B, K, *S) and labels (B, *S)."""
        counts = count_overlap(logits.argmax(1), label, num_classes=self.num_classes)
        dice = dice_from_counts(counts)[:, 1:]
        self.mean.update(torch.nan_to_num(dice), weight=torch.isfinite(dice).to(dice.dtype))

    def value(self) -> float:
        """The mean over cases and classes."""
        return float(self.mean.compute())

    def reset(self) -> None:
        """Forget it."""
        self.mean.reset()


class AurocScore(SelectionScore):
    """Mean area under the ROC curve of each class against the others, over the classes that occur.

    It needs no threshold and tells small improvements apart on few images, where accuracy moves in steps.
    It is undefined where the split shows one class alone.

    Args:
        several: whether labels do not exclude each other.

    Example:
        >>> score = AurocScore(several=False)
        >>> score.update(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> score.value()
        1.0
    """

    column = "selection_auroc"
    title = "selection AUROC"

    def __init__(self, *, several: bool) -> None:
        super().__init__()
        self.several = several
        self._seen: list[tuple[Tensor, Tensor]] = []

    def update(self, logits: Tensor, label: Tensor) -> None:
        """Take in a batch of logits (B, K) and labels (B,), or (B, K) of 0 and 1."""
        self._seen.append((logits.detach(), label))

    def value(self) -> float:
        """The mean over the classes."""
        if not self._seen:
            return float("nan")
        logits, label = (torch.cat(parts).cpu() for parts in zip(*self._seen, strict=True))
        scores = (logits if self.several else logits.softmax(1)).numpy()
        truth = label == 1 if self.several else label[:, None] == torch.arange(logits.shape[1])
        known = (label != IGNORE_INDEX).view(len(label), -1).expand_as(truth)
        areas = [
            Ranking(scores[:, k], truth[:, k].numpy(), known[:, k].numpy()).auroc()
            for k in range(scores.shape[1])
        ]
        return float(nanmean(np.array(areas)))

    def reset(self) -> None:
        """Forget it."""
        self._seen.clear()


def selection_score(task: Task, num_classes: int) -> SelectionScore:
    """The score that chooses the epoch of a task: Dice for maps, AUROC for labels of whole images."""
    return DiceScore(num_classes) if task == "segmentation" else AurocScore(several=task == "multi_label")
