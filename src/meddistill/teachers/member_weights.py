"""From the scores of an ensemble's members to their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from meddistill.errors import TeacherError
from meddistill.teachers.accuracy import Check

Known = Sequence[Sequence[bool]]
"""For each member and class, whether it knows the class."""


def overall_scores(name: str, checks: Sequence[Check], known: Known) -> list[float]:
    """One score for each member, over the classes that it knows.

    Args:
        name: of the ensemble.
        checks: what each member scores on the same labelled cases.
        known: which classes it knows.

    Raises:
        TeacherError: no case shows a class that a member knows, or no member scores above 0.
    """
    scores = [check.score_over(classes) for check, classes in zip(checks, known, strict=True)]
    for check, score in zip(checks, scores, strict=True):
        if math.isnan(score):
            raise TeacherError(
                f"the weight of teacher {check.name!r} cannot be fitted: no labelled case shows a class that "
                "it knows"
            )
    if not any(score > 0 for score in scores):
        raise TeacherError(
            f"teacher {name!r}: no member scores above 0 on the labelled cases, so they cannot be "
            f"weighed; check their normalisation (mean, std) and class order (class_map)"
        )
    return scores


def fitted_weights(
    checks: Sequence[Check], overall: Sequence[float], known: Known, *, per_class: bool
) -> list[list[float]]:
    """For each member a weight for each class, 0 for one that it does not know.

    Args:
        checks: what each member scores.
        overall: the `overall_scores` of them.
        known: which classes it knows.
        per_class: weigh by the score of the class itself, where there is one above 0.
    """
    classes = range(len(known[0]))
    columns = [_column(checks, overall, [row[k] for row in known], k if per_class else None) for k in classes]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(
    checks: Sequence[Check],
    overall: Sequence[float],
    known: Sequence[bool],
    k: int | None,
) -> list[float]:
    """Weights of the members for class `k` (None: for any), 0 for those that do not know it.

    Where nobody who knows the class has a score above 0 for it, their overall scores count, and failing those
    all alike.
    """
    of_class = [0.0 if k is None else check.class_scores[k] for check in checks]
    for scores in (of_class, overall):
        column = [score if knows and score > 0 else 0.0 for score, knows in zip(scores, known, strict=True)]
        if any(column):
            return column
    return [float(knows) for knows in known]
