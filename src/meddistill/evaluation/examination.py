"""Looking at answers once more: how honest they are, how uncertain, and whether that finds the errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.task import Task
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.calibration_tally import CalibrationTally
from meddistill.evaluation.fine_histogram import FineHistogram
from meddistill.evaluation.overlap import dice_score
from meddistill.evaluation.proper_scores import two_classes
from meddistill.evaluation.selective import CaseRanking, PixelRanking

PIXEL_CELLS = 1024
"""Cells in which the pixels of each case are counted by their uncertainty: 16 KB for a case and a measure."""


@dataclass(frozen=True)
class CaseFinding:
    """One case.

    Args:
        case: which.
        score: Dice (mean over the classes, 1 where a class is neither there nor predicted), or the share of
            right answers.
        wrong: whether the case counts as an error.
        uncertainty: of the case, for each measure.
        pixels: its pixels by uncertainty, for each measure; empty for answers about whole images.
    """

    case: Case
    score: float
    wrong: bool
    uncertainty: Mapping[str, float]
    pixels: Mapping[str, FineHistogram]


class Examination:
    """What is gathered over the cases of a split.

    Args:
        task: what the student answers.
        num_classes: K; of labels that do not exclude each other their number.
        measures: names in `answer_maps.MEASURES`.
        error_below: Dice below which a case is an error; of whole images every wrong answer is one.

    Example:
        >>> examination = Examination("classification", 2, ("entropy",))
        >>> logits, label = torch.tensor([[0.0, 2.0]]), torch.tensor([0])
        >>> maps = examination.look(logits, logits, [logits], label)
        >>> examination.add(Case("a"), maps.of(0), label[0])
        >>> [(found.case.id, found.score, found.wrong) for found in examination.findings]
        [('a', 0.0, True)]
    """

    def __init__(
        self, task: Task, num_classes: int, measures: Sequence[str], *, error_below: float = 0.7
    ) -> None:
        self.task, self.measures, self.error_below = task, tuple(measures), error_below
        self.num_classes = 2 if task == "multi_label" else num_classes
        self.before, self.after = CalibrationTally(self.num_classes), CalibrationTally(self.num_classes)
        self.findings: list[CaseFinding] = []

    def look(self, raw: Tensor, logits: Tensor, answers: Iterable[Tensor], label: Tensor) -> Maps:
        """Count the probabilities of some images, or of a part of a volume.

        Args:
            raw: (B, K, *S) logits of the student before its calibration.
            logits: the same after it, which are the student's answer.
            answers: logits whose mixture tells how uncertain it is.
            label: (B, *S).

        Raises:
            DataError: shapes that do not fit, or logits that are not finite.
        """
        if self.task == "multi_label":
            raw, logits = two_classes(raw), two_classes(logits)
            answers = map(two_classes, answers)
        self.before.update(raw, label)
        self.after.update(logits, label)
        return Maps.of_answers(logits, answers, self.measures)

    def add(self, case: Case, maps: Maps, label: Tensor) -> None:
        """Take in a case whose maps (*S) are complete; one without any known label is left out.

        Args:
            case: which.
            maps: of this case alone.
            label: (*S).
        """
        label = label.cpu().long()
        known = label != IGNORE_INDEX
        if not bool(known.any()):
            return
        wrong = (maps.prediction != label)[known]
        dense = self.task == "segmentation"
        score = self._dice(maps.prediction, label) if dense else 1 - float(wrong.float().mean())
        self.findings.append(
            CaseFinding(
                case,
                score,
                wrong=score < self.error_below if dense else bool(wrong.any()),
                uncertainty={name: maps.of_case(name, dense=dense) for name in self.measures},
                pixels={name: _counted(maps.uncertainty[name][known], wrong) for name in self.measures}
                if dense
                else {},
            )
        )

    def _dice(self, prediction: Tensor, label: Tensor) -> float:
        found = dice_score(prediction[None], label[None], num_classes=self.num_classes, both_empty=1.0)
        return float(found.double().mean())

    def cases(self, measure: str) -> CaseRanking:
        """The cases by a measure of their uncertainty."""
        scores = np.array([found.score for found in self.findings])
        wrong = np.array([found.wrong for found in self.findings], bool)
        return CaseRanking(
            np.array([found.uncertainty[measure] for found in self.findings]), 1 - scores, wrong
        )

    def pixels(self, measure: str) -> PixelRanking:
        """The pixels of all cases by a measure of their uncertainty."""
        histograms = [found.pixels[measure] for found in self.findings]
        return PixelRanking(*(_stacked(getattr(h, part) for h in histograms) for part in ("counts", "hits")))

    @property
    def groups(self) -> npt.NDArray[np.str_]:
        """(N,) group of each case."""
        return np.array([found.case.group or found.case.id for found in self.findings], np.str_)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row for each case, for a table."""
        for found in self.findings:
            identity = {"case": found.case.id, "group": found.case.group or found.case.id}
            numbers = {"stratum": found.case.stratum, "score": found.score, "wrong": int(found.wrong)}
            yield identity | numbers | dict(found.uncertainty)


def _counted(uncertainty: Tensor, wrong: Tensor) -> FineHistogram:
    histogram = FineHistogram(PIXEL_CELLS)
    histogram.update(uncertainty, wrong)
    return histogram


def _stacked(columns: Iterator[Tensor]) -> npt.NDArray[np.float64]:
    """(N, C) from the cells of each case."""
    stacked: npt.NDArray[np.float64] = torch.stack(list(columns)).double().numpy()
    return stacked
