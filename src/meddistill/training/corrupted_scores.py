"""What a run makes of corrupted images: its view of them, and the scores of its student."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from meddistill.data.cache import CaseCache
from meddistill.data.case import Case
from meddistill.data.dataset import as_float
from meddistill.data.task import answers_images
from meddistill.errors import RunError
from meddistill.evaluation import AnswerTable, ScoreTable, answer_images, score_cases, score_volumes
from meddistill.evaluation.tiling import VolumePredictor
from meddistill.training.corrupted_images import CorruptedImages, Pictures, Piece, View, stream
from meddistill.training.data import TaskData
from meddistill.training.evaluate import chosen_student
from meddistill.training.finished_runs import FinishedRun
from meddistill.training.scoring import volume_input, volumes_of

Table = ScoreTable | AnswerTable

Score = Callable[[Tensor, Sequence[str]], Table]
"""From images (B, C, *S) and the ids of their cases to their scores."""


@dataclass(frozen=True)
class Examined:
    """A run that is asked about corrupted images: its name, what it sees of them, its scores, its device."""

    name: str
    view: View
    score: Score
    device: torch.device


class CorruptedScores:
    """For each piece the scores of every run.

    Args:
        images: the pieces, with the view of each run among their views.
        runs: who is asked.
    """

    def __init__(self, images: CorruptedImages, runs: Sequence[Examined]) -> None:
        self.images, self.runs = images, runs

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self.images)

    def __getitem__(self, index: int) -> list[Table]:
        """The scores of a piece, run by run.

        Raises:
            DataError: an image cannot be read, does not suit the corruption or cannot be scored.
        """
        return self.of(index, self.images[index])

    def of(self, index: int, shown: Sequence[Tensor]) -> list[Table]:
        """The scores of a piece whose images are made already."""
        names, views = self.images.pieces[index].cases, self.images.views
        return [run.score(shown[views.index(run.view)], names) for run in self.runs]


def scored_pieces(
    pieces: Sequence[Piece], pictures: Sequence[Pictures], runs: Sequence[Examined], *, seed: int, jobs: int
) -> Iterator[list[Table]]:
    """The scores of each piece in order, run by run: one list for each piece.

    Where the students answer on the CPU, each of the `jobs` processes corrupts, predicts and scores; else
    they corrupt and this process does the rest.

    Args:
        pieces: what is done to which cases.
        pictures: where images come from.
        runs: who is asked.
        seed: of the corruptions.
        jobs: processes; 0 for none beside this one.

    Raises:
        DataError: an image cannot be read, does not suit the corruption or cannot be scored.
        RunError: a process died.
    """
    views = list(dict.fromkeys(run.view for run in runs))
    images = CorruptedImages(pieces, pictures, views, seed=seed)
    scores = CorruptedScores(images, runs)
    if all(run.device.type == "cpu" for run in runs):
        return stream(scores, jobs)
    return (scores.of(index, shown) for index, shown in enumerate(stream(images, jobs)))


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
        source, cases = volumes_of(run.data, "test")
        score = _VolumeScores(
            how.predictor(student, batch_size=run.recipe.training.batch_size), source, cases
        )
        return Examined(run.name, View(place, None, config.interpolation), score, device)
    view = View(place, tuple(config.shape), config.interpolation)
    truth, cases = run.data.dataset("test").cache, run.data.cases("test")
    return Examined(run.name, view, _ImageScores(student, device, run.data, truth, cases), device)


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


@dataclass(frozen=True)
class _ImageScores:
    """Scores of images at the size of training, against the labels that `evaluate` uses.

    Scores are objects and not closures, so that they can be sent to processes that are not forks of this one.
    """

    student: nn.Module
    device: torch.device
    data: TaskData
    truth: CaseCache
    cases: Mapping[str, Case]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where the label of each case is."""
        return {case.id: index for index, case in enumerate(self.truth.cases)}

    def __call__(self, images: Tensor, names: Sequence[str]) -> Table:
        labels = self.truth.labels.read([self._places[name] for name in names]).long()
        batch: Any = {"image": as_float(images), "label": labels, "case_id": list(names)}
        common: dict[str, Any] = {
            "class_names": self.data.source.class_names,
            "cases": self.cases,
            "device": self.device,
            "progress": False,
        }
        if answers_images(self.data.source):
            return answer_images(self.student, [batch], task=self.data.task, **common)
        return score_cases(self.student, [batch], **common)[0]


@dataclass(frozen=True)
class _VolumeScores:
    """Scores of whole volumes at their own grids."""

    predictor: VolumePredictor
    source: Any
    cases: Mapping[str, Case]

    def __call__(self, images: Tensor, names: Sequence[str]) -> Table:
        shown = _Shown(self.source, dict(zip(names, images.numpy(), strict=True)))
        wanted = [self.cases[name] for name in names]
        return score_volumes(
            self.predictor, shown, wanted, class_names=self.source.class_names, progress=False
        )[0]


class _Shown:
    """A source of volumes with other images."""

    def __init__(self, source: Any, images: Mapping[str, Any]) -> None:
        self._source, self._images = source, images

    def read_image(self, case: Case) -> Any:
        """The image that was given."""
        return self._images[case.id]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)
