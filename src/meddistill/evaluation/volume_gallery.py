"""Pictures of volumes: the slice with the most label of the worst, median and best ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from meddistill.data.case import Case
from meddistill.data.dataset import as_float
from meddistill.errors import DataError
from meddistill.evaluation.gallery import Gallery, Picture, drawn, gallery_of
from meddistill.evaluation.table import ScoreTable
from meddistill.evaluation.tiling import VolumePredictor
from meddistill.evaluation.volumes import Volumes, read_volume


def make_volume_gallery(
    student: VolumePredictor,
    teacher: VolumePredictor | None,
    source: Volumes,
    cases: Mapping[str, Case],
    table: ScoreTable,
    *,
    count: int = 3,
    axis: int = 0,
) -> Gallery:
    """The plane with the most foreground label of the worst, median and best labelled volumes.

    Args:
        student: the network, for whole volumes.
        teacher: the same for the teacher, or None.
        source: reads the volumes.
        cases: the volumes by id.
        table: scores of the student on them.
        count: volumes of each kind.
        axis: the axis that is cut.

    Raises:
        DataError: a case of the table is not among `cases`, or cannot be read.
    """

    def picture(name: str) -> Picture:
        if name not in cases:
            raise DataError(f"case {name} of the score table is not among the volumes")
        image, label = read_volume(source, cases[name])
        labelled = (label > 0).sum(dim=[other for other in range(3) if other != axis])
        plane = int(labelled.argmax())
        logits = plane_logits(student, image, plane, axis)
        taught = None if teacher is None else plane_logits(teacher, image, plane, axis)
        return drawn(as_float(image.select(1 + axis, plane)), label.select(axis, plane), logits, taught)

    return gallery_of(table, picture, count=count)


def plane_logits(predictor: VolumePredictor, image: Tensor, plane: int, axis: int = 0) -> Tensor:
    """Logits (K, H, W) of one plane of a volume; what lies beyond it is not computed.

    Example:
        >>> from meddistill.evaluation.tiling import BySlices
        >>> by_slices = BySlices(lambda image: torch.cat([1 - image, image], dim=1), size=(2, 2))
        >>> image = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])[None]
        >>> plane_logits(by_slices, image, 1)[1].unique()
        tensor([1.])
    """
    lengths = [length for other, length in enumerate(image.shape[1:]) if other != axis]
    found: Tensor | None = None
    for where, logits in predictor(image):
        span = where[axis]
        if not span.start <= plane < span.stop:
            if found is not None:
                break
            continue
        across = [side for other, side in enumerate(where) if other != axis]
        if found is None:
            found = torch.zeros(len(logits), *lengths)
        found[(slice(None), *across)] = logits.select(1 + axis, plane - span.start).cpu()
    assert found is not None
    return found
