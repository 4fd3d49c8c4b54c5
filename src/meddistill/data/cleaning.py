"""Labels that are probably wrong, by confident learning: which they are, and the folds that show it.

Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels" (JAIR 2021), as
cleanlab computes it, which comes with `pip install 'meddistill[clean]'`.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.balance import noted_kinds
from meddistill.data.cache import CaseCache
from meddistill.data.case import IGNORE_INDEX
from meddistill.data.grouping import fold_positions, group_of
from meddistill.errors import ConfigError


def check_cleanlab() -> None:
    """Refuse to clean labels where cleanlab is not installed.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("cleanlab") is None:
        raise ConfigError("data.clean needs cleanlab: pip install 'meddistill[clean]'")


def wrong_labels(
    labels: npt.NDArray[np.integer[Any]],
    probabilities: npt.NDArray[np.floating[Any]],
    *,
    filter_by: str = "prune_by_noise_rate",
) -> npt.NDArray[np.bool_]:
    """Which labels are probably wrong (N,).

    How often class i was noted where class j is true is counted over the cases whose probability of j reaches
    the mean that cases noted as j have (the confident joint). Then as many cases of each such pair are marked
    as it says, those first in which j is most likelier than i (`prune_by_noise_rate`).

    Args:
        labels: (N,) noted classes 0..K-1 or `IGNORE_INDEX`, which is never marked.
        probabilities: (N, K) of a network that has not seen the label of the case.
        filter_by: rule of `cleanlab.filter.find_label_issues`.

    Raises:
        ConfigError: cleanlab is not installed.
    """
    check_cleanlab()
    from cleanlab.filter import find_label_issues

    known = labels != IGNORE_INDEX
    wrong = np.zeros(len(labels), dtype=np.bool_)
    if known.any():
        wrong[known] = find_label_issues(
            labels[known].astype(np.int64), probabilities[known], filter_by=filter_by, n_jobs=1
        )
    return wrong


def draw_folds(cache: CaseCache, count: int, *, seed: int) -> list[list[int]]:
    """Positions of the cases in each of `count` disjoint folds of whole groups, balanced by the noted labels.

    Args:
        cache: the training split.
        count: how many folds.
        seed: with the names of the groups decides.

    Raises:
        ConfigError: there are too few groups.
    """
    kinds = noted_kinds(cache)
    cases = [replace(case, stratum=kind) for case, kind in zip(cache.cases, kinds, strict=True)]
    folds = fold_positions(cases, count, salt=f"folds {seed}")
    if not all(folds):
        groups = len({group_of(case) for case in cases})
        raise ConfigError(
            f"data.clean.folds is {count}, but the training split has too few groups ({groups}); give fewer"
        )
    return folds
