"""The options of paced-curriculum distillation, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from meddistill.errors import ConfigError
from meddistill.losses.checks import check_choice, check_count, check_fraction, check_positive
from meddistill.losses.reduce import Normalise
from meddistill.methods.checks import term_weights
from meddistill.methods.pcd_presets import PRESETS, Preset


class Mode(NamedTuple):
    """Which curricula a mode combines.

    Hard masks of the teacher's confidence and of the label's boundary, and soft confidence weights.
    """

    confidence_mask: bool
    boundary_mask: bool
    soft_weight: bool


MODES = {
    "tpl": Mode(confidence_mask=True, boundary_mask=False, soft_weight=False),
    "tpl_uncert": Mode(confidence_mask=True, boundary_mask=True, soft_weight=False),
    "cpl": Mode(confidence_mask=False, boundary_mask=False, soft_weight=True),
    "cpl_tpl": Mode(confidence_mask=True, boundary_mask=False, soft_weight=True),
}


@dataclass(kw_only=True, eq=False)
class PacedOptions:
    """Options of `PacedDistillation`. The defaults are P-CD on breast ultrasound as its README runs it.

    Args:
        mode: "tpl" masks by the teacher's confidence in the true class (P-CD without boundary uncertainty);
            "tpl_uncert" masks by that and by the boundary certainty of the label (P-CD); "cpl" gives unsure
            pixels less weight; "cpl_tpl" does both.
        preset: "paper", "reference" (the released code, defects included) or "first" (its forerunner's code).
        temperature: of the divergence.
        confidence_temperature: of the teacher's confidence; "calibrate" takes the one fitted on the
            calibration split; None leaves it to the preset.
        beta: share of the training pixels that the first threshold must keep, 0..1.
        gamma: share of the epochs after which every pixel takes part, above 0 and up to 1.
        every: epochs between two steps of the threshold.
        cpl_beta: as beta, for the soft weights. None means beta in "cpl_tpl"; in "cpl" it means no
            histogram, but a threshold that starts at 1 and falls by 0.1 each time, as in the released code.
        cpl_gamma: as gamma, for the soft weights; None means gamma.
        cpl_every: as every, for the soft weights; None means every.
        weights_to: the term that soft weights act on: "ce", "kld" or "both".
        alpha: None adds both terms; a number weighs them alpha and 1 - alpha.
        normalise: "all" divides the sums by all labelled pixels, "selected" by the sum of the weights.
        score: "true_class", or "max_confidence" for hard masks that do not look at the label.
        pacing: "linear" from a histogram, or "rising" from initial_mu as in the forerunner's code.
        initial_mu: first doubt 1 - confidence let in under "rising" pacing.
        mu_update: what that gains every `every` epochs.
        boundary: "shared" compares the boundary certainty q, which is never below 0.5, with the same
            threshold as the confidence and so stops masking at 0.5; "stretched" compares 2 q - 1.
        kernel_size: of the boundary smoothing.
        sigma: of the boundary smoothing, in pixels.

    Raises:
        ConfigError: an option is unknown or out of range.
    """

    mode: Literal["tpl", "tpl_uncert", "cpl", "cpl_tpl"] = "tpl_uncert"
    preset: Literal["paper", "reference", "first"] = "paper"
    temperature: float = 4.5
    confidence_temperature: float | Literal["calibrate"] | None = None
    beta: float = 0.7
    gamma: float = 0.8
    every: int = 5
    cpl_beta: float | None = None
    cpl_gamma: float | None = None
    cpl_every: int | None = None
    weights_to: Literal["ce", "kld", "both"] = "ce"
    alpha: float | None = None
    normalise: Normalise = "all"
    score: Literal["true_class", "max_confidence"] = "true_class"
    pacing: Literal["linear", "rising"] = "linear"
    initial_mu: float = 0.2
    mu_update: float = 0.1
    boundary: Literal["shared", "stretched"] = "shared"
    kernel_size: int = 3
    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("preset", self.preset, PRESETS)
        check_choice("weights_to", self.weights_to, ("ce", "kld", "both"))
        check_choice("normalise", self.normalise, ("all", "selected"))
        check_choice("score", self.score, ("true_class", "max_confidence"))
        check_choice("pacing", self.pacing, ("linear", "rising"))
        check_choice("boundary", self.boundary, ("shared", "stretched"))
        check_positive("temperature", self.temperature)
        if isinstance(self.own_temperature, str):
            check_choice("confidence_temperature", self.own_temperature, ("calibrate",))
        else:
            check_positive("confidence_temperature", self.own_temperature)
        check_fraction("initial_mu", self.initial_mu)
        check_positive("mu_update", self.mu_update)
        _check_pace("", self.beta, self.gamma, self.every)
        _check_pace("cpl_", *self.cpl_pace)
        _check_kernel(self.kernel_size, self.sigma)
        term_weights(self.alpha)

    @property
    def parts(self) -> Mode:
        """The curricula of the mode."""
        return MODES[self.mode]

    @property
    def settings(self) -> Preset:
        """The row of the preset."""
        return PRESETS[self.preset]

    @property
    def own_temperature(self) -> float | Literal["calibrate"]:
        """The confidence temperature asked for, or else the preset's."""
        asked = self.confidence_temperature
        return self.settings.confidence_temperature if asked is None else asked

    @property
    def cpl_pace(self) -> tuple[float, float, int]:
        """Beta, gamma and every of the soft weights."""
        return (
            self.beta if self.cpl_beta is None else self.cpl_beta,
            self.gamma if self.cpl_gamma is None else self.cpl_gamma,
            self.every if self.cpl_every is None else self.cpl_every,
        )


def _check_pace(prefix: str, beta: float, gamma: float, every: int) -> None:
    check_fraction(f"{prefix}beta", beta)
    check_positive(f"{prefix}gamma", gamma)
    check_fraction(f"{prefix}gamma", gamma)
    check_count(f"{prefix}every", every)


def _check_kernel(size: int, sigma: float) -> None:
    if check_count("kernel_size", size) < 3 or size % 2 == 0:
        raise ConfigError(f"kernel_size must be odd and at least 3, got {size}")
    check_positive("sigma", sigma)
