"""How long the students of a study take for one image, timed in turn on the machine that makes the page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import torch

from meddistill.models import ModelSpec
from meddistill.progress import track
from meddistill.training.evaluate import read_recipe
from meddistill.training.hardware import device_for
from meddistill.training.run_folder import RunFolder, read_json

if TYPE_CHECKING:
    from torch.utils.benchmark import Timer

ROUNDS = 5
"""How often each architecture has its turn."""

_SECONDS = 0.05
"""How long a turn lasts at least."""


def inference_times(folders: Iterable[Path]) -> dict[Path, float]:
    """Seconds that the student of each run takes for one image of its training size, in a batch of one.

    Students of one architecture and size take equally long and are timed once, with random weights. Every
    architecture has `ROUNDS` turns, in turn, so that what else happens on the machine meets all alike; the
    median counts.

    Args:
        folders: finished runs, whose recipes say on which device.

    Raises:
        RunError: a run without a description of its student, or without a recipe.
    """
    students = {path: _student(RunFolder(path)) for path in folders}
    timers = {student: _timer(*student) for student in set(students.values())}
    seconds: dict[_Student, list[float]] = {student: [] for student in timers}
    with torch.inference_mode():
        for _ in track(range(ROUNDS), "timing students"):
            for student, timer in timers.items():
                seconds[student].append(timer.blocked_autorange(min_run_time=_SECONDS).median)
    return {path: median(seconds[student]) for path, student in students.items()}


class _Student(NamedTuple):
    """All that the time depends on: the spec as JSON, without names of classes, and the device."""

    spec: str
    device: str


def _student(folder: RunFolder) -> _Student:
    spec = replace(ModelSpec.from_json(read_json(folder.model)), class_names=())
    device = device_for(read_recipe(folder).training.accelerator)
    return _Student(json.dumps(spec.to_json(), sort_keys=True), str(device))


def _timer(described: str, device: str) -> Timer:
    from torch.utils.benchmark import Timer

    spec = ModelSpec.from_json(json.loads(described))
    image = torch.zeros(1, spec.in_channels, *spec.size, device=device)
    known = {"student": spec.build().to(device).eval(), "image": image}
    return Timer("student(image)", globals=known, num_threads=torch.get_num_threads())
