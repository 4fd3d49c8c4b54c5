"""The cases in which the rows of a comparison disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.case_scores import CaseScores
from meddistill.evaluation.metrics import nanmean

COUNT = 6
"""Cases that are shown."""


@dataclass(frozen=True)
class Dispute:
    """A case and its score in every row.

    Args:
        case: id of the case.
        scores: (R,) mean over the seeds of each row; NaN where it is undefined.
        spread: the highest less the lowest of them.
    """

    case: str
    scores: tuple[float, ...]
    spread: float


def disputes(scores: CaseScores, count: int = COUNT) -> list[Dispute]:
    """The `count` cases with the largest spread between rows, the largest first; fewer where rows agree.

    A case in which fewer than two rows have a score has no spread. Equal spreads go by id.

    Example:
        >>> names = np.array(["a", "b", "c"])
        >>> rows = {"iid": np.array([[0.2, 0.9, 0.5]]), "kd": np.array([[0.8, 0.8, 0.5]])}
        >>> scores = CaseScores("dice", True, names, names, rows)
        >>> [(one.case, round(one.spread, 2)) for one in disputes(scores)]
        [('a', 0.6), ('b', 0.1)]
    """
    means = scores.means
    defined = ~np.isnan(means)
    high = np.where(defined, means, -np.inf).max(axis=0)
    low = np.where(defined, means, np.inf).min(axis=0)
    spread = np.where(defined.sum(axis=0) > 1, high - low, 0.0)
    chosen = [place for place in np.argsort(-spread, kind="stable")[:count].tolist() if spread[place] > 0]
    return [
        Dispute(str(scores.cases[place]), tuple(means[:, place].tolist()), float(spread[place]))
        for place in chosen
    ]


def answer_of(seeds: Sequence[AnswerTable], case: str) -> tuple[str, str, float]:
    """What the runs of a row say of one image together, from the mean of their probabilities.

    Returns:
        The truth, the answer, and the mean probability of the answer; of several labels both list those that
        hold, and the probability is the mean over labels of what is answered.

    Example:
        >>> names, both = np.array(["a"]), np.array([[0.3, 0.7]])
        >>> table = AnswerTable(names, names, names, np.array([0]), both, ("well", "sick"))
        >>> answer_of([table], "a")
        ('well', 'sick', 0.7)
    """
    rows = [table.take(table.cases == case) for table in seeds]
    first = rows[0]
    probabilities = nanmean(np.stack([row.probabilities for row in rows]), axis=0)
    joined = AnswerTable(
        first.cases, first.groups, first.strata, first.labels, probabilities, first.class_names
    )
    truth, answer = joined.labels[0], joined.predicted[0]
    if joined.task == "multi_label":
        sure = np.where(answer == 1, probabilities[0], 1 - probabilities[0])
        return _held(truth == 1, first.class_names), _held(answer == 1, first.class_names), float(sure.mean())
    true_name = first.class_names[int(truth)] if joined.known[0] else "unknown"
    return true_name, first.class_names[int(answer)], float(probabilities[0, int(answer)])


def _held(holds: npt.NDArray[np.bool_], names: Sequence[str]) -> str:
    return ", ".join(name for name, held in zip(names, holds, strict=True) if held) or "none"
