"""What the students of a study predict for a few cases, to be drawn side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.config.attacks import attacked_sets
from meddistill.errors import MedDistillError
from meddistill.evaluation.gallery import Picture, picture_of
from meddistill.report.dispute_parts import DisputedMaps
from meddistill.training.data import TaskData
from meddistill.training.evaluate import cases_of, chosen_student
from meddistill.training.run_folder import RunFolder
from meddistill.training.scoring import volume_input
from meddistill.training.study import PlannedRun


@dataclass(frozen=True)
class Drawn:
    """The maps of each case, the names of the classes, and a sentence on what could not be drawn."""

    maps: Mapping[str, DisputedMaps] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    note: str = ""


def disputed_maps(runs: Sequence[PlannedRun], name: str, cases: Sequence[str]) -> Drawn:
    """The predictions of the first seed of every row for images of the set `name`.

    Image and label are those of the first row; the predictions of a student that sees images of another size
    are brought to theirs. Volumes and attacked images are not drawn, and neither is anything where the data
    or a student are gone: the note says so.
    """
    firsts = {run.row: run for run in reversed(runs)}
    pictures: dict[str, dict[str, Picture]] = {}
    opened: dict[str, tuple[TaskData, str]] = {}
    class_names: tuple[str, ...] = ()
    try:
        for row in dict.fromkeys(run.row for run in runs):
            if name in attacked_sets(firsts[row].recipe.attacks):
                return Drawn(note="Attacked images are not drawn.")
            found = _pictures(firsts[row], name, cases, opened)
            if found is None:
                return Drawn(note="Volumes are not drawn here; the reports of the runs show their slices.")
            class_names, pictures[row] = found
    except MedDistillError as error:
        return Drawn(note=f"There are no pictures: {error}.")
    return Drawn({case: _joined(case, pictures) for case in cases}, class_names)


def _pictures(
    run: PlannedRun, name: str, cases: Sequence[str], opened: dict[str, tuple[TaskData, str]]
) -> tuple[tuple[str, ...], dict[str, Picture]] | None:
    """The class names and the maps of each case of one run; None where its data are volumes.

    `opened` keeps data that rows share.
    """
    folder = RunFolder(run.folder)
    spec, student, _ = chosen_student(folder, run.recipe)
    key = repr((run.recipe.data, run.recipe.tests, run.seed))
    if key not in opened:
        opened[key] = cases_of(folder, run.recipe, name, spec)
    data, part = opened[key]
    if volume_input(data.config, data.source) is not None:
        return None
    dataset = data.dataset(part)
    places = {case: place for place, case in enumerate(data.cases(part))}
    return spec.class_names, {case: picture_of(student, dataset, case, places.get(case, 0)) for case in cases}


def _joined(case: str, pictures: Mapping[str, Mapping[str, Picture]]) -> DisputedMaps:
    first = next(iter(pictures.values()))[case]
    shape = first["label"].shape
    predictions = {row: _fitted(found[case]["student"], shape) for row, found in pictures.items()}
    return DisputedMaps(first["image"], first["label"], predictions)


def _fitted(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A map (H, W) at another size, by the nearest pixel."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * there / wanted).astype(int)
        for wanted, there in zip(shape, values.shape, strict=True)
    )
    fitted: npt.NDArray[Any] = values[rows[:, None], columns]
    return fitted
