"""Scoring cases: every score of every foreground class, and the run over a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from meddistill.data.case import Case
from meddistill.errors import DataError
from meddistill.evaluation.case_tally import CaseTally
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.evaluation.table import ScoreTable
from meddistill.methods.base import Batch
from meddistill.progress import track

Value = TypeVar("Value")


def score_case(
    logits: Tensor,
    label: Tensor,
    *,
    class_names: Sequence[str],
    spacing: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """All scores of one case, one row per foreground class.

    Args:
        logits: (K, *S); the largest one is the prediction, their softmax the probabilities.
        label: (*S) integer map; `IGNORE_INDEX` pixels count nowhere.
        class_names: K names, the background first.
        spacing: size of a pixel along each axis in mm; None gives distances in pixels.

    Returns:
        Rows with `class`, `state` (see `STATES`), `dice`, `iou`, `precision`, `recall` (0..1; NaN when
        both empty, 0 when missed or a false alarm), `hd95`, `asd` (in `unit`; NaN when both empty, the
        image diagonal when missed or a false alarm), `nsd` (0..1, with a tolerance of 2 in `unit`; empty as
        `dice`), `label_pixels`, `predicted_pixels`, and, the same on every row of the case, `pixels`
        (labelled ones), `ece` (10 bins over all of them), `nll` (mean, nats) and `brier` (mean over pixels
        of the squared error summed over classes, 0..2).

    Raises:
        DataError: shapes or values that cannot be compared, or logits that are not finite.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 2.0]])
        >>> [row] = score_case(logits, torch.tensor([0, 0, 1]), class_names=("background", "lesion"))
        >>> row["state"], row["recall"], round(row["dice"], 3), row["hd95"], row["unit"]
        ('ok', 1.0, 0.667, 0.95, 'px')
    """
    return _scored(logits, label, class_names, spacing)[0]


def score_rows(
    scores: Mapping[str, Tensor], shared: Mapping[str, Any], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each foreground class of one case from scores (1, K - 1), with what all of them share."""
    rows = []
    for index, name in enumerate(class_names[1:]):
        row = {score: values[0, index].item() for score, values in scores.items()}
        rows.append({"class": name, "state": _state(row), **row, **shared})
    return rows


def score_cases(
    network: Network,
    loader: Iterable[Batch],
    *,
    class_names: Sequence[str],
    cases: Mapping[str, Case],
    device: torch.device | str | None = None,
    spacings: Mapping[str, Sequence[float]] | None = None,
    progress: bool = True,
) -> tuple[ScoreTable, ReliabilityBins]:
    """Score every case of a loader at the size at which the loader yields it.

    Args:
        network: maps images (B, C, *S) to logits (B, K, *S); a module is used in evaluation mode.
        loader: yields batches with `image`, `label` and `case_id`.
        class_names: K names, the background first.
        cases: the case of each id, for its group and stratum.
        device: where to send the batches; None takes the device of the network's weights.
        spacings: pixel size in mm of each case id at the loader's size; None gives distances in pixels.
        progress: show a bar on a terminal.

    Returns:
        The table, one row per case and foreground class, and the reliability bins over all labelled pixels.

    Raises:
        DataError: names the case whose logits or label cannot be scored, or that `cases` lacks.
    """
    bins = ReliabilityBins()
    rows: list[dict[str, Any]] = []
    device = device_of(network) if device is None else device
    batches = track(loader, "scoring") if progress else loader
    with predicting(network):
        for batch in batches:
            logits = network(batch["image"].to(device)).float()
            label = batch["label"].to(device)
            for index, name in enumerate(batch["case_id"]):
                case = _known(cases, name, "the split")
                spacing = _known(spacings, name, "the spacings") if spacings is not None else None
                try:
                    scored, of_case = _scored(logits[index], label[index], class_names, spacing)
                except DataError as error:
                    raise DataError(f"case {name}: {error}") from error
                identity = {"case": name, "group": case.group or name, "stratum": case.stratum}
                rows += [identity | row for row in scored]
                bins.merge(of_case)
    return ScoreTable.from_rows(rows), bins


def _scored(
    logits: Tensor, label: Tensor, class_names: Sequence[str], spacing: Sequence[float] | None
) -> tuple[list[dict[str, Any]], ReliabilityBins]:
    """The rows of `score_case`, and the reliability bins of the case."""
    tally = CaseTally(label, len(class_names))
    tally.update(logits.float())
    shared = tally.calibration() | {"unit": "px" if spacing is None else "mm"}
    return score_rows(tally.scores(spacing), shared, class_names), tally.bins


def _state(row: Mapping[str, Any]) -> str:
    if row["label_pixels"]:
        return "ok" if row["predicted_pixels"] else "missed"
    return "false_alarm" if row["predicted_pixels"] else "both_empty"


def _known(values: Mapping[str, Value], name: str, where: str) -> Value:
    if name not in values:
        raise DataError(f"case {name} is not among {where}")
    return values[name]
