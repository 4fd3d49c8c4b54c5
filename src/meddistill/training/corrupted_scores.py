"""What a run makes of corrupted images: its view of them, and the scores of its student."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddistill.data.case import Case
from meddistill.data.dataset import as_float
from meddistill.data.task import answers_images
from meddistill.errors import RunError
from meddistill.evaluation import AnswerTable, ScoreTable, answer_images, score_cases, score_volumes
from meddistill.evaluation.volume_input import VolumeInput
from meddistill.training.corrupted_images import Pictures, View
from meddistill.training.evaluate import chosen_student
from meddistill.training.finished_runs import FinishedRun
from meddistill.training.scoring import volume_input, volumes_of

Table = ScoreTable | AnswerTable

Score = Callable[[Tensor, Sequence[str]], Table]
"""From images (B, C, *S) and the ids of their cases to their scores."""


@dataclass(frozen=True)
class Examined:
    """A run that is asked about corrupted images: its name, what it sees of them, and its scores."""

    name: str
    view: View
    score: Score


def dims_of(run: FinishedRun) -> int:
    """Spatial axes of what is corrupted: of whole volumes, also where the student takes their slices.

    Example:
        >>> from types import SimpleNamespace as Some
        >>> source = Some(dims=2)
        >>> dims_of(Some(data=Some(config=None, source=source)))
        2
    """
    return 2 if volume_input(run.data.config, run.data.source) is None else 3


def pictures_of(runs: Sequence[FinishedRun]) -> tuple[list[Pictures], list[int]]:
    """Where the images of the runs come from, each place once, and which of them each run reads.

    Raises:
        RunError: the runs have different test cases.
    """
    keys = [_place(run) for run in runs]
    order = list(dict.fromkeys(keys))
    pictures = [_pictures(runs[keys.index(key)]) for key in order]
    places = [order.index(key) for key in keys]
    for run, place in zip(runs, places, strict=True):
        if different := set(pictures[0].cases) ^ set(pictures[place].cases):
            raise RunError(
                f"{runs[0].name} and {run.name} have different test cases ({len(different)}, first "
                f"{min(different)}); give runs that were trained with the same splits"
            )
    return pictures, places


def examined(run: FinishedRun, place: int) -> Examined:
    """The run with its student loaded.

    Args:
        run: a finished run.
        place: of its images among all `Pictures`.
    """
    _, student, device = chosen_student(run.folder, run.recipe)
    config = run.data.config
    how = volume_input(config, run.data.source)
    if how is not None:
        score = _volume_scorer(run, student, how)
        return Examined(run.name, View(place, None, config.interpolation), score)
    size = tuple(config.shape)
    return Examined(run.name, View(place, size, config.interpolation), _scorer(run, student, device))


def joined(tables: Sequence[Table]) -> Table:
    """One table with the rows of several of one kind, in order."""
    if isinstance(tables[0], ScoreTable):
        columns = {
            name: [table[name] for table in tables if isinstance(table, ScoreTable)]
            for name in tables[0].columns
        }
        return ScoreTable({name: np.concatenate(parts) for name, parts in columns.items()})
    answers = [table for table in tables if isinstance(table, AnswerTable)]
    names = ("cases", "groups", "strata", "labels", "probabilities")
    parts = {name: np.concatenate([getattr(table, name) for table in answers]) for name in names}
    return AnswerTable(**parts, class_names=answers[0].class_names)


def _place(run: FinishedRun) -> str:
    """What decides the images of a run before they are resized; a phantom is generated at a size."""
    return f"{run.recipe.data.source.model_dump_json()} {getattr(run.data.source, 'size', '')}"


def _pictures(run: FinishedRun) -> Pictures:
    if dims_of(run) == 3:
        return Pictures(*volumes_of(run.data, "test"))
    return Pictures(run.data.source, run.data.cases("test"))


def _scorer(run: FinishedRun, student: nn.Module, device: torch.device) -> Score:
    """Scores of images at the size of training, against the labels that `evaluate` uses."""
    data, cases = run.data, run.data.cases("test")
    cache = data.dataset("test").cache
    places = {case.id: index for index, case in enumerate(cache.cases)}
    common: dict[str, Any] = {
        "class_names": data.source.class_names,
        "cases": cases,
        "device": device,
        "progress": False,
    }

    def score(images: Tensor, names: Sequence[str]) -> Table:
        labels = cache.labels.read([places[name] for name in names]).long()
        batch: Any = {"image": as_float(images), "label": labels, "case_id": list(names)}
        if answers_images(data.source):
            return answer_images(student, [batch], task=data.task, **common)
        return score_cases(student, [batch], **common)[0]

    return score


def _volume_scorer(run: FinishedRun, student: nn.Module, how: VolumeInput) -> Score:
    """Scores of whole volumes at their own grids."""
    source, cases = volumes_of(run.data, "test")
    predictor = how.predictor(student, batch_size=run.recipe.training.batch_size)

    def score(images: Tensor, names: Sequence[str]) -> Table:
        shown = _Shown(source, dict(zip(names, images.numpy(), strict=True)))
        wanted = [cases[name] for name in names]
        return score_volumes(predictor, shown, wanted, class_names=source.class_names, progress=False)[0]

    return score


class _Shown:
    """A source of volumes with other images."""

    def __init__(self, source: Any, images: Mapping[str, Any]) -> None:
        self._source, self._images = source, images

    def read_image(self, case: Case) -> Any:
        """The image that was given."""
        return self._images[case.id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)
