"""Scores and pictures of a split: images one by one, volumes whole, whatever the student was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from meddistill.config import DataConfig
from meddistill.data.case import Case, Source
from meddistill.data.volumes.normalise import Normalisation
from meddistill.evaluation import Gallery, ReliabilityBins, ScoreTable, make_gallery, score_cases
from meddistill.evaluation.disturbance import Disturbance, Disturbed
from meddistill.evaluation.inference import Network
from meddistill.evaluation.volume_gallery import make_volume_gallery
from meddistill.evaluation.volume_input import VolumeInput, VolumeReading
from meddistill.evaluation.volumes import score_volumes
from meddistill.methods.base import Batch
from meddistill.training.data import TaskData


def volume_input(config: DataConfig, source: Source) -> VolumeInput | None:
    """How a student of these data takes volumes; None where the data are images."""
    if slices_of(source) is not None:
        axis = int(getattr(source, "axis", 0))
        return VolumeInput("slices", config.shape, config.interpolation, axis)
    if source.dims == 2:
        return None
    return VolumeInput("whole" if config.patch is None else "patches", config.shape, config.interpolation)


def describe_reading(data: TaskData) -> dict[str, Any]:
    """What `model.json` says of volumes, so that `predict` reads them as training did; empty for images."""
    how = volume_input(data.config, data.source)
    if how is None:
        return {}
    source = slices_of(data.source) or data.source
    as_generated = Normalisation("window", (0.0, 255.0))
    reading = VolumeReading(how, getattr(source, "normalisation", as_generated))
    return {"volumes": reading.to_json()}


def slices_of(source: Source) -> Any | None:
    """The source of volumes whose slices `source` gives; None where it gives something else."""
    return getattr(source, "volumes", None)


def score_split(
    student: Network,
    data: TaskData,
    split: str,
    *,
    class_names: Sequence[str],
    batch_size: int,
    device: torch.device | str,
    disturbance: Disturbance | None = None,
) -> tuple[ScoreTable, ReliabilityBins]:
    """Score a network on a split: images at the size of training, volumes whole and at their own grids.

    Args:
        student: on `device`.
        data: has the split.
        split: its name.
        class_names: K names, the background first.
        batch_size: images or slices at a time.
        device: where to send batches of images.
        disturbance: what happens to images before the network sees them; volumes are left as they are.

    Raises:
        DataError: a case cannot be read or scored.
    """
    how = volume_input(data.config, data.source)
    if how is None:
        loader = shown(data, split, student, batch_size=batch_size, disturbance=disturbance)
        return score_cases(student, loader, class_names=class_names, cases=data.cases(split), device=device)
    source, cases = volumes_of(data, split)
    predictor = how.predictor(student, batch_size=batch_size)
    return score_volumes(predictor, source, cases.values(), class_names=class_names)


def shown(
    data: TaskData, split: str, network: Network, *, batch_size: int, disturbance: Disturbance | None
) -> Iterable[Batch]:
    """The batches of a split as `network` sees them."""
    loader = data.loader(split, batch_size=batch_size)
    return loader if disturbance is None else Disturbed(loader, network, disturbance)


def gallery_of_split(
    student: Network, teacher: Network | None, data: TaskData, split: str, table: ScoreTable
) -> Gallery:
    """The worst, median and best cases of a split by the scores of `score_split`; a volume by one slice."""
    how = volume_input(data.config, data.source)
    if how is None:
        return make_gallery(student, teacher, data.dataset(split), table)
    source, cases = volumes_of(data, split)
    predictors = [None if network is None else how.predictor(network) for network in (student, teacher)]
    assert predictors[0] is not None
    return make_volume_gallery(predictors[0], predictors[1], source, cases, table, axis=how.axis)


def volumes_of(data: TaskData, split: str) -> tuple[Any, Mapping[str, Case]]:
    """The source of the volumes of a split, and the volumes by id."""
    cases = data.split.cases.get(split, ())
    source: Any = data.source
    if slices_of(source) is None:
        return source, {case.id: case for case in cases}
    volumes = [source.volume_of(case) for case in cases]
    return source.volumes, {case.id: case for case in volumes}
