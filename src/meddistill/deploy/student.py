"""The student of a run, ready to be asked: by itself, of one branch, or with its calibration behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from meddistill.calibration import Calibrated, load_calibrator
from meddistill.data.resize import INTERPOLATIONS, Interpolation
from meddistill.errors import ConfigError, RunError
from meddistill.evaluation.volume_input import VolumeReading
from meddistill.models.compound import branch_of
from meddistill.models.spec import ModelSpec, load_model
from meddistill.training.run_folder import RunFolder, read_json


@dataclass(frozen=True)
class Student:
    """A student and how it was fed.

    Args:
        network: images (B, C, *size) in 0..1 to logits, in evaluation mode.
        spec: what the logits mean.
        interpolation: how images were resized.
        volumes: how volumes become images where it takes them; None for a student of images.
    """

    network: nn.Module
    spec: ModelSpec
    interpolation: Interpolation
    volumes: VolumeReading | None


def load_student(run: Path | str, *, branch: str | None = None, calibrated: bool = False) -> Student:
    """The chosen student of a run.

    Args:
        run: a run folder.
        branch: which one of a student that has several, such as `upper`; None takes the first.
        calibrated: put the calibration that was last fitted to the run behind it.

    Raises:
        RunError: not a usable run, or one without a calibration.
        ConfigError: there is no such branch, or no calibration of it.
    """
    files = RunFolder(Path(run))
    described = read_json(files.model)
    interpolation = described.get("interpolation")
    spec, student = load_model(files.weights)
    if interpolation not in INTERPOLATIONS:
        raise RunError(
            f"{files.model} does not say how images were resized: interpolation is {interpolation!r}"
        )
    volumes = VolumeReading.from_json(described, files.model)
    if volumes is None and (spec.dims != 2 or len(spec.size) != 2):
        raise RunError(f"{files.weights} is for neither volumes nor 2D images of a known size")
    network = _calibrated(student, files, branch) if calibrated else branch_of(student, branch)
    return Student(network.eval(), spec, interpolation, volumes)


def _calibrated(student: nn.Module, run: RunFolder, branch: str | None) -> Calibrated:
    if branch is not None:
        raise ConfigError(f"the calibration of {run.root} is not that of a branch; leave the branch out")
    if not run.calibrator.is_file():
        raise RunError(
            f"{run.root} has no fitted calibration; fit one: meddistill evaluate {run.root} --calibrate "
            "temperature"
        )
    return Calibrated(branch_of(student, None), load_calibrator(run.calibrator))
