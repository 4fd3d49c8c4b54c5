"""Scoring answers about whole images: a table of them, and the summary of a split with its intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from meddistill.data.case import Case
from meddistill.data.task import Task
from meddistill.errors import DataError
from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.class_metrics import CLASS_METRICS, PER_CLASS, POLICY
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.evaluation.measured import Measured
from meddistill.evaluation.ranking import Curve
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.evaluation.resampling import resample
from meddistill.methods.base import Batch
from meddistill.progress import track

LEVEL = 0.95
_POINTS = 200
"""Most points of a ROC curve in a summary."""

Floats = npt.NDArray[np.float64]


def answer_images(
    network: Network,
    loader: Iterable[Batch],
    *,
    class_names: Sequence[str],
    task: Task,
    cases: Mapping[str, Case],
    device: torch.device | str | None = None,
    progress: bool = True,
) -> AnswerTable:
    """Ask a network about every image of a loader.

    Args:
        network: maps images (B, C, *S) to logits (B, K); a module is used in evaluation mode.
        loader: yields batches with `image`, `label` and `case_id`.
        class_names: K names.
        task: `classification` (softmax) or `multi_label` (a sigmoid for each label).
        cases: the case of each id, for its group and stratum.
        device: where to send the batches; None takes the device of the network's weights.
        progress: show a bar on a terminal.

    Raises:
        DataError: logits of another shape or that are not finite, or a case that `cases` lacks.
    """
    names: list[str] = []
    labels, probabilities = [], []
    device = device_of(network) if device is None else device
    with predicting(network):
        for batch in track(loader, "scoring") if progress else loader:
            logits = network(batch["image"].to(device)).double().cpu()
            if tuple(logits.shape) != (len(batch["case_id"]), len(class_names)):
                raise DataError(
                    f"logits {tuple(logits.shape)} are no answers about {len(batch['case_id'])} images and "
                    f"{len(class_names)} classes"
                )
            if not bool(logits.isfinite().all()):
                raise DataError(f"the logits of {', '.join(batch['case_id'][:3])} hold NaN or infinity")
            probabilities.append(logits.sigmoid() if task == "multi_label" else logits.softmax(dim=1))
            labels.append(batch["label"].cpu())
            names += batch["case_id"]
    known = [_known(cases, name) for name in names]
    return AnswerTable(
        cases=np.array(names, np.str_),
        groups=np.array([case.group or case.id for case in known], np.str_),
        strata=np.array([case.stratum for case in known], np.str_),
        labels=torch.cat(labels).numpy().astype(np.int64),
        probabilities=torch.cat(probabilities).numpy(),
        class_names=tuple(class_names),
    )


def summarise_answers(table: AnswerTable, *, seed: int = 0, resamples: int = 2000) -> dict[str, Any]:
    """The summary of one split, as plain values that JSON can hold (undefined numbers are None).

    Args:
        table: the answers.
        seed: of the bootstrap, which resamples groups, not images.
        resamples: number of bootstrap samples.

    Returns:
        `task`; `metrics`: for every name in `CLASS_METRICS` the value (`mean`), its 95 % confidence interval
        `low` and `high` (None with fewer than two groups) and `n`, the images behind it; `counts`: images
        (`cases`), groups, `wrong` answers (images of a wrong class, or wrong decisions on labels),
        `unlabelled` images and `absent_classes`, which have no image; `classes`: for each class its `metrics`
        (`n` is the number of its images) and how often it is the truth (`label`) and the answer
        (`predicted`); `confusion`: see `Measured.confusion`; `roc`: a curve of at most 200 points for each
        class, None where it is undefined; `reliability`: bins over all decisions; `dataset`, `policy`,
        `level`, `resamples` and `seed`.

    Raises:
        DataError: no label is known.

    Example:
        >>> names = np.array(["a", "b", "c", "d"])
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
        >>> labels = np.array([0, 1, 0, 1])
        >>> table = AnswerTable(names, names, names, labels, probabilities, ("healthy", "sick"))
        >>> summary = summarise_answers(table, resamples=20)
        >>> summary["metrics"]["auroc"]["mean"], summary["counts"]["wrong"], summary["confusion"]
        (0.75, 2, [[1, 1], [1, 1]])
    """
    if not table.known.any():
        raise DataError("no image has a known label; nothing can be scored")
    measured = Measured(table)
    names = list(table.class_names)
    drawn = resample(
        lambda weights: _numbers(measured, weights),
        groups=table.groups,
        resamples=resamples,
        seed=seed,
        title="confidence intervals",
    )
    low, high = drawn.intervals(LEVEL)
    estimates = [
        {"mean": _plain(value), "low": _plain(a), "high": _plain(b)}
        for value, a, b in zip(drawn.observed.tolist(), low.tolist(), high.tolist(), strict=True)
    ]
    whole, of_classes = estimates[: len(CLASS_METRICS)], estimates[len(CLASS_METRICS) :]
    support = measured.counts(measured.ones).support.astype(int).tolist()
    bins = reliability_bins(measured)
    images = int(table.known.reshape(len(table), -1).any(axis=1).sum())
    return {
        "task": table.task,
        "metrics": {
            name: estimate | {"n": images} for name, estimate in zip(CLASS_METRICS, whole, strict=True)
        },
        "counts": _counts(measured, support),
        "classes": {
            name: {
                "metrics": {
                    score: of_classes[position * len(names) + k] | {"n": support[k]}
                    for position, score in enumerate(PER_CLASS)
                },
                "counts": {"label": support[k], "predicted": _answered(measured, k)},
            }
            for k, name in enumerate(names)
        },
        "dataset": {name: whole[list(CLASS_METRICS).index(name)]["mean"] for name in ("ece", "nll")},
        "confusion": measured.confusion().tolist(),
        "roc": {
            name: _curve(ranking.curve()) for name, ranking in zip(names, measured.rankings, strict=True)
        },
        "reliability": bins.to_dict(),
        "policy": POLICY,
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
    }


def reliability_bins(measured: Measured) -> ReliabilityBins:
    """Reliability bins over all decisions."""
    confidence, right, _ = measured.decisions
    bins = ReliabilityBins()
    bins.update_confidence(torch.from_numpy(confidence), torch.from_numpy(right))
    return bins


def _numbers(measured: Measured, weights: Floats) -> Floats:
    """(R, M) for weights (R, N): every score of the whole, then every score of every class."""
    whole = np.stack([metric.of(measured, weights) for metric in CLASS_METRICS.values()], axis=-1)
    return np.concatenate([whole, *(score(measured, weights) for score in PER_CLASS.values())], axis=-1)


def _counts(measured: Measured, support: Sequence[int]) -> dict[str, int]:
    table = measured.table
    _, right, _ = measured.decisions
    return {
        "cases": len(table),
        "groups": len(set(table.groups.tolist())),
        "wrong": int((~right).sum()),
        "unlabelled": int((~table.known.reshape(len(table), -1).any(axis=1)).sum()),
        "absent_classes": sum(count == 0 for count in support),
    }


def _answered(measured: Measured, number: int) -> int:
    return int((measured.answer & measured.known)[:, number].sum())


def _curve(curve: Curve | None) -> dict[str, list[float]] | None:
    if curve is None:
        return None
    chosen = np.unique(np.linspace(0, len(curve.thresholds) - 1, _POINTS).round().astype(int))
    return {
        "false_positive_rate": curve.false_positive_rate[chosen].tolist(),
        "true_positive_rate": curve.true_positive_rate[chosen].tolist(),
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _known(cases: Mapping[str, Case], name: str) -> Case:
    if name not in cases:
        raise DataError(f"case {name} is not among the split")
    return cases[name]
