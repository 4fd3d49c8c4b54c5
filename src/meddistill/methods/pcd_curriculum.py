"""The curricula of paced-curriculum distillation, put together from its options."""

from __future__ import annotations

from typing import TypedDict

import torch

from meddistill.errors import ConfigError, DataError, TeacherError
from meddistill.losses import IGNORE_INDEX
from meddistill.methods.base import Context
from meddistill.methods.checks import check_class_count
from meddistill.methods.pcd_options import PacedOptions
from meddistill.pacing import (
    BatchMean,
    Boundary,
    ConfidenceHistogram,
    Everything,
    HardMask,
    LinearPacing,
    Lowest,
    MostLikelyClass,
    Pacing,
    Product,
    RisingPacing,
    Score,
    SoftWeight,
    Stretched,
    TrueClass,
    Weight,
)


class CurriculumState(TypedDict):
    """What one pass over the teacher's confidences tells.

    `confidence_temperature`, `epochs`, `starts` (the first value of each threshold) and `shares` (share of
    the training pixels in use, by epoch).
    """

    confidence_temperature: float
    epochs: int
    starts: dict[str, float]
    shares: list[float]


def survey(options: PacedOptions, context: Context) -> CurriculumState:
    """Measure the teacher's confidences on the training split and set the first thresholds.

    Raises:
        ConfigError: a fitted temperature is asked for, but the context has none.
        TeacherError: the teacher has another number of classes, or its logits are not finite.
        DataError: no pixel of the training split has a label.
    """
    temperature = fitted_temperature(options, context)
    histograms = _measure(_scores(options, temperature), context)
    rounding = options.settings.rounding
    starts = {"threshold": histograms["threshold"].threshold(options.beta, rounding=rounding)}
    if options.mode == "cpl" and options.cpl_beta is None:
        starts["cpl_threshold"] = 1.0
    else:
        starts["cpl_threshold"] = histograms["cpl_threshold"].threshold(
            options.cpl_pace[0], rounding=rounding
        )
    pace = next(iter(paces(options, starts, context.epochs).values()))
    shares = [histograms["share"].kept_fraction(pace.threshold(epoch)) for epoch in range(context.epochs)]
    return {
        "confidence_temperature": temperature,
        "epochs": context.epochs,
        "starts": starts,
        "shares": shares,
    }


def fitted_temperature(options: PacedOptions, context: Context) -> float:
    """The number given as confidence temperature, or the one fitted on the calibration split.

    Raises:
        ConfigError: none was fitted.
    """
    if not isinstance(options.own_temperature, str):
        return options.own_temperature
    if context.teacher_temperature is None:
        raise ConfigError(
            "confidence_temperature is 'calibrate', but no temperature was fitted: "
            "give a calibration split or set confidence_temperature to a number"
        )
    return context.teacher_temperature


def paces(options: PacedOptions, starts: dict[str, float], epochs: int) -> dict[str, Pacing]:
    """The schedules in use, by the name that `status` reports: "threshold" (TPL, BU) and "cpl_threshold"."""
    _, gamma, every = options.cpl_pace
    if options.pacing == "rising":
        tpl: Pacing = RisingPacing(options.initial_mu, options.mu_update, options.every)
        cpl: Pacing = RisingPacing(options.initial_mu, options.mu_update, every)
    else:
        tpl = LinearPacing(starts["threshold"], epochs, options.gamma, options.every)
        if (
            options.mode == "cpl" and options.cpl_beta is None
        ):  # by 0.1 each time, whatever the number of epochs
            cpl = LinearPacing(starts["cpl_threshold"], epochs=10 * every, full_at=1.0, every=every)
        else:
            stretch = every / options.every if options.settings.cpl_step == "every" else 1.0
            cpl = LinearPacing(starts["cpl_threshold"], epochs, gamma * stretch, every)
    parts = options.parts
    used = {"threshold": parts.confidence_mask, "cpl_threshold": parts.soft_weight}
    return {name: pace for name, pace in (("threshold", tpl), ("cpl_threshold", cpl)) if used[name]}


def hard_mask(options: PacedOptions, temperature: float) -> Weight:
    """The masks v (TPL) and u (BU) of the mode, multiplied."""
    if not options.parts.confidence_mask:
        return Everything()
    mask: Weight = HardMask(_confidence(options, temperature))
    if options.settings.masks == "batch_mean":
        mask = BatchMean(mask)
    return Product((mask, HardMask(_boundary(options)))) if options.parts.boundary_mask else mask


def soft_weight(options: PacedOptions, temperature: float) -> Weight:
    """The weight c (CPL), for the modes that have it."""
    return SoftWeight(TrueClass(temperature), options.settings.floor)


def _confidence(options: PacedOptions, temperature: float) -> Score:
    return TrueClass(temperature) if options.score == "true_class" else MostLikelyClass(temperature)


def _boundary(options: PacedOptions) -> Score:
    score = Boundary(options.kernel_size, options.sigma, options.settings.centre)
    return Stretched(score) if options.boundary == "stretched" else score


def _scores(options: PacedOptions, temperature: float) -> dict[str, Score]:
    """What to take histograms of: the score behind each threshold, and the one behind the share in use."""
    confidence, true_class = _confidence(options, temperature), TrueClass(temperature)
    in_use: Score = confidence if options.parts.confidence_mask else true_class
    if options.parts.boundary_mask:
        in_use = Lowest((confidence, _boundary(options)))
    return {"threshold": confidence, "cpl_threshold": true_class, "share": in_use}


def _measure(scores: dict[str, Score], context: Context) -> dict[str, ConfidenceHistogram]:
    histograms = {name: ConfidenceHistogram() for name in scores}
    for logits, labels in context.passes():
        check_class_count(logits, context.num_classes)
        if not torch.isfinite(logits).all():
            raise TeacherError(
                "the teacher's logits contain NaN or infinity: check its weights and its input"
            )
        for name, score in scores.items():
            histograms[name].update(score(logits, labels), labels != IGNORE_INDEX)
    if not histograms["share"].total:
        raise DataError("no pixel of the training split has a label: the curriculum has nothing to rank")
    return histograms
