"""Scoring whole volumes, slab by slab: overlap, surfaces in millimetres, volume differences, calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import Case
from meddistill.errors import DataError
from meddistill.evaluation.case_tally import CaseTally
from meddistill.evaluation.reliability import ReliabilityBins
from meddistill.evaluation.scores import score_rows
from meddistill.evaluation.table import ScoreTable
from meddistill.evaluation.tiling import Slab, VolumePredictor
from meddistill.progress import track

VOXELS = "voxels"
"""Unit of distances in a volume whose spacing is not known."""


class Volumes(Protocol):
    """What scoring asks of a source of volumes; without `geometry(case)` their spacing is unknown."""

    def read_image(self, case: Case) -> npt.NDArray[np.generic]:
        """The image as (C, Z, Y, X), uint8 in 0..255 or float32 in 0..1."""
        ...

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The label map (Z, Y, X) with values 0..K-1 or `IGNORE_INDEX`."""
        ...


def score_volume(
    slabs: Iterable[Slab],
    label: Tensor,
    *,
    class_names: Sequence[str],
    spacing: Sequence[float] | None = None,
) -> tuple[list[dict[str, Any]], ReliabilityBins]:
    """All scores of one volume, one row per foreground class.

    Args:
        slabs: its logits, as a `VolumePredictor` yields them.
        label: (Z, Y, X) integers; `IGNORE_INDEX` voxels count nowhere.
        class_names: K names, the background first.
        spacing: size of a voxel along Z, Y, X in mm; None when it is unknown.

    Returns:
        Rows with the scores of `score_case` (`unit` is `mm`, or `voxels` without spacing), and `rvd`, the
        relative volume difference (predicted less labelled volume, as a share of the labelled one; NaN where
        the class is not labelled), and `avd`, the absolute volume difference in ml (NaN where both are empty
        or the spacing is unknown); and the reliability bins of the volume.

    Raises:
        DataError: shapes or values that cannot be compared, or logits that are not finite.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 0.0, 2.0], [0.0, 2.0, 2.0, 0.0]]).view(2, 1, 1, 4)
        >>> whole = Slab((slice(0, 1), slice(0, 1), slice(0, 4)), logits)
        >>> names = ("background", "lesion")
        >>> [row], bins = score_volume([whole], torch.tensor([[[0, 0, 1, 0]]]), class_names=names)
        >>> row["rvd"], row["avd"], row["unit"], bins.total
        (1.0, nan, 'voxels', 4)
        >>> [row], _ = score_volume(
        ...     [whole], torch.tensor([[[0, 0, 1, 0]]]), class_names=names, spacing=(10.0, 1.0, 1.0)
        ... )
        >>> row["avd"], row["unit"]
        (0.01, 'mm')
    """
    tally = CaseTally(label, len(class_names))
    for slab in slabs:
        tally.update(slab.logits, slab.where)
    scores = tally.scores(spacing)
    scores |= volume_differences(scores["predicted_pixels"], scores["label_pixels"], spacing)
    shared = tally.calibration() | {"unit": VOXELS if spacing is None else "mm"}
    return score_rows(scores, shared, class_names), tally.bins


def volume_differences(
    predicted: Tensor, labelled: Tensor, spacing: Sequence[float] | None
) -> dict[str, Tensor]:
    """`rvd` and `avd` from counts of voxels; see `score_volume`.

    Example:
        >>> counts = torch.tensor([[90, 0, 5, 0], [100, 10, 0, 0]])
        >>> found = volume_differences(*counts, spacing=(10, 10, 10))
        >>> found["rvd"].tolist(), found["avd"].tolist()
        ([-0.1, -1.0, nan, nan], [10.0, 10.0, 5.0, nan])
    """
    difference = (predicted - labelled).double()
    millilitres = math.nan if spacing is None else math.prod(spacing) / 1000
    empty = (predicted == 0) & (labelled == 0)
    return {
        "rvd": (difference / labelled).masked_fill(labelled == 0, math.nan),
        "avd": (difference.abs() * millilitres).masked_fill(empty, math.nan),
    }


def score_volumes(
    predictor: VolumePredictor,
    source: Volumes,
    cases: Iterable[Case],
    *,
    class_names: Sequence[str],
    progress: bool = True,
) -> tuple[ScoreTable, ReliabilityBins]:
    """Score every volume at its own grid, one at a time.

    Args:
        predictor: the network, for whole volumes.
        source: reads the volumes and knows their spacing.
        cases: which ones.
        class_names: K names, the background first.
        progress: show a bar on a terminal.

    Returns:
        The table, one row per volume and foreground class, and the reliability bins over all labelled voxels.

    Raises:
        DataError: names the volume that cannot be read or scored.
    """
    bins = ReliabilityBins()
    rows: list[dict[str, Any]] = []
    listed = list(cases)
    for case in track(listed, "scoring") if progress else listed:
        image, label = read_volume(source, case)
        try:
            scored, of_case = score_volume(
                predictor(image), label, class_names=class_names, spacing=spacing_of(source, case)
            )
        except DataError as error:
            raise DataError(f"case {case.id}: {error}") from error
        identity = {"case": case.id, "group": case.group or case.id, "stratum": case.stratum}
        rows += [identity | row for row in scored]
        bins.merge(of_case)
    return ScoreTable.from_rows(rows), bins


def spacing_of(source: Volumes, case: Case) -> tuple[float, ...] | None:
    """Size of a voxel along Z, Y, X in mm; None when it is unknown."""
    geometry = getattr(source, "geometry", None)
    return None if geometry is None else geometry(case).spacing


def read_volume(source: Volumes, case: Case) -> tuple[Tensor, Tensor]:
    """Image (C, Z, Y, X) and label (Z, Y, X) of a case.

    Raises:
        DataError: they cannot be read or do not fit together.
    """
    pixels, values = source.read_image(case), source.read_label(case)
    if pixels.shape[1:] != values.shape:
        raise DataError(f"{case.id}: image {pixels.shape} and label {values.shape} do not fit together")
    if pixels.dtype != np.uint8:
        pixels = pixels.astype(np.float32, copy=False)
    return torch.from_numpy(pixels), torch.from_numpy(values)
