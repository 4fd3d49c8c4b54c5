"""How long the students of a study take for one image, timed in turn on the machine that makes the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import torch

from meddistill.models import ModelSpec
from meddistill.progress import track
from meddistill.training.hardware import device_for
from meddistill.training.run_folder import RunFolder, read_json
from meddistill.training.study import PlannedRun

if TYPE_CHECKING:
    from torch.utils.benchmark import Timer

ROUNDS = 5
"""How often each architecture has its turn."""

_SECONDS = 0.05
"""How long a turn lasts at least."""


def inference_times(runs: Iterable[PlannedRun]) -> dict[Path, float]:
    """Seconds that the student of each run takes for one image of its training size, in a batch of one.

    Students of one architecture and size take equally long and are timed once, with random weights. Every
    architecture has `ROUNDS` turns, in turn, so that what else happens on the machine meets all alike; the
    median counts.

    Args:
        runs: finished ones, whose recipes say on which device.

    Returns:
        The seconds by the folder of the run.

    Raises:
        RunError: a run without a description of its student.
    """
    timers: dict[str, Timer] = {}
    timed: dict[Path, str] = {}
    for run in runs:
        spec = replace(ModelSpec.from_json(read_json(RunFolder(run.folder).model)), class_names=())
        device = device_for(run.recipe.training.accelerator)
        timed[run.folder] = architecture = f"{spec} on {device}"
        if architecture not in timers:
            timers[architecture] = _timer(spec, device)
    seconds: dict[str, list[float]] = {architecture: [] for architecture in timers}
    with torch.inference_mode():
        for _ in track(range(ROUNDS), "timing students"):
            for architecture, timer in timers.items():
                seconds[architecture].append(timer.blocked_autorange(min_run_time=_SECONDS).median)
    return {folder: median(seconds[architecture]) for folder, architecture in timed.items()}


def _timer(spec: ModelSpec, device: torch.device) -> Timer:
    from torch.utils.benchmark import Timer

    image = torch.zeros(1, spec.in_channels, *spec.size, device=device)
    known = {"student": spec.build().to(device).eval(), "image": image}
    return Timer("student(image)", globals=known, num_threads=torch.get_num_threads())
