"""Fitting a calibrator for the student of a run on labels that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from meddistill.calibration import Fitted, Kept, fit_calibrator
from meddistill.calibration.examples import Example
from meddistill.data.task import answers_images
from meddistill.errors import ConfigError, RunError
from meddistill.evaluation.inference import device_of
from meddistill.training.data import TaskData


def held_out_split(data: TaskData) -> str:
    """The split that a calibration is fitted on: `calibration` where the run has one, else `selection`.

    The selection split has chosen the epoch, so that a network is a little too good on it.

    Raises:
        RunError: there is neither, or their labels are not known.
    """
    for split in ("calibration", "selection"):
        if data.split.cases.get(split) and data.has_labels(split):
            return split
    raise RunError(
        "a calibration is fitted on held-out labels, and this run has neither a calibration nor a selection "
        "split with labels; train with data.splits.carve.calibration, or leave --calibrate out"
    )


def check_calibration(kind: str, data: TaskData) -> None:
    """Refuse a calibration that does not suit the labels.

    Raises:
        ConfigError: it does not.
    """
    if kind == "local" and answers_images(data.source):
        raise ConfigError(
            "--calibrate local fits a temperature for each pixel, and this student answers once per image; "
            "take temperature or class"
        )
    if kind == "class" and data.task == "multi_label":
        raise ConfigError(
            "--calibrate class needs classes that exclude each other, and these labels do not; take "
            "temperature"
        )


def calibrate_student(student: nn.Module, kind: str, data: TaskData, *, batch_size: int, seed: int) -> Fitted:
    """Fit a calibrator for a student on the held-out split of a run, at the size of training.

    Args:
        student: in evaluation mode.
        kind: a name in `CALIBRATORS`.
        data: those of the run, with `held_out_split`.
        batch_size: images at a time.
        seed: of a calibrator that has weights.

    Raises:
        RunError: there is no held-out split.
        ConfigError: a kind that does not suit the labels.
        DataError: a case cannot be read, or logits that are not finite.
    """
    check_calibration(kind, data)
    split, device = held_out_split(data), device_of(student)

    def examples() -> Iterator[Example]:
        for batch in data.loader(split, batch_size=batch_size):
            image = batch["image"].to(device)
            with torch.no_grad():
                logits = student(image).float()
            yield image, logits, batch["label"].to(device)

    return fit_calibrator(kind, Kept(examples), seed=seed)
