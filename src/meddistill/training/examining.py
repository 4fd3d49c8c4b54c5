"""Examining the answers of a student about a split: images one by one, volumes slab by slab."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from meddistill.calibration import Calibrated, Calibrator
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.examination import Examination
from meddistill.evaluation.inference import device_of, predicting
from meddistill.evaluation.tiling import VolumePredictor
from meddistill.evaluation.volume_input import VolumeInput
from meddistill.evaluation.volumes import read_volume
from meddistill.progress import track
from meddistill.training.data import TaskData
from meddistill.training.scoring import volume_input, volumes_of
from meddistill.training.ways import Way


@dataclass(frozen=True)
class Examined:
    """Who is examined, and how.

    Args:
        student: the network as it was trained, on its device.
        calibrator: what stands behind it; None for nothing.
        way: whose answers tell how uncertain it is.
    """

    student: nn.Module
    calibrator: Calibrator | None
    way: Way

    def calibrated(self, logits: Tensor, image: Tensor) -> Tensor:
        """The student's logits behind its calibrator."""
        return logits if self.calibrator is None else self.calibrator(logits, image)


def examine(who: Examined, data: TaskData, part: str, examination: Examination, *, batch_size: int) -> None:
    """Ask about every case of a split and gather what `examination` wants.

    Args:
        who: the student and the way.
        data: has the split.
        part: its name.
        examination: takes in the cases.
        batch_size: images or slices at a time.

    Raises:
        DataError: a case cannot be read, or logits that are not finite.
    """
    how = volume_input(data.config, data.source)
    if how is None:
        _images(who, data, part, examination, batch_size)
    else:
        _volumes(who, how, data, part, examination, batch_size)


def _images(who: Examined, data: TaskData, part: str, examination: Examination, batch_size: int) -> None:
    cases, device = data.cases(part), device_of(who.student)
    with predicting(who.student):
        for batch in track(data.loader(part, batch_size=batch_size), "examining"):
            image, label = batch["image"].to(device), batch["label"].to(device)
            raw = who.student(image).float()
            logits = who.calibrated(raw, image)
            own = [logits] if who.way.own else []
            others = (network(image).float() for network in who.way.others)
            maps = examination.look(raw, logits, (*own, *others), label)
            for index, name in enumerate(batch["case_id"]):
                examination.add(cases[name], maps.of(index), label[index])


def _volumes(
    who: Examined, how: VolumeInput, data: TaskData, part: str, examination: Examination, batch_size: int
) -> None:
    source, cases = volumes_of(data, part)
    networks = [who.student, *who.way.others]
    if who.calibrator is not None:
        networks.append(Calibrated(who.student, who.calibrator))
    predictors = [how.predictor(network, batch_size=batch_size) for network in networks]
    for case in track(list(cases.values()), "examining"):
        image, label = read_volume(source, case)
        examination.add(case, _looked_at(predictors, who, examination, image, label), label)


def _looked_at(
    predictors: list[VolumePredictor], who: Examined, examination: Examination, image: Tensor, label: Tensor
) -> Maps:
    """The maps (Z, Y, X) of a volume; all predictors give the same slabs."""
    whole = Maps.empty(label.shape, examination.measures)
    for slabs in zip(*(predictor(image) for predictor in predictors), strict=True):
        where, raw = slabs[0]
        others = [slab.logits[None] for slab in slabs[1 : 1 + len(who.way.others)]]
        logits = slabs[-1].logits if who.calibrator is not None else raw
        own = [logits[None]] if who.way.own else []
        known = label[where][None].to(raw.device).long()
        whole.fill(where, examination.look(raw[None], logits[None], (*own, *others), known).of(0))
    return whole
