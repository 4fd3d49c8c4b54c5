"""Losses on channel-first tensors of any dimension: a pure function each, and a thin module round it."""

from meddistill.losses.bernoulli import BernoulliKL, bernoulli_kl, binary_cross_entropy
from meddistill.losses.checks import IGNORE_INDEX
from meddistill.losses.cross_entropy import (
    CrossEntropy,
    PartialCrossEntropy,
    cross_entropy,
    partial_cross_entropy,
)
from meddistill.losses.dice import SoftDiceLoss, soft_dice_loss
from meddistill.losses.ensemble_kl import ensemble_bernoulli_kl, ensemble_kl
from meddistill.losses.entropy import PredictionEntropy, prediction_entropy
from meddistill.losses.kl import KLDivergence, kl_divergence
from meddistill.losses.noise_robust import (
    LabelSmoothingCrossEntropy,
    SymmetricCrossEntropy,
    label_smoothing_cross_entropy,
    symmetric_cross_entropy,
)
from meddistill.losses.reduce import masked_mean
from meddistill.losses.soft_targets import (
    SoftCrossEntropy,
    SoftTargetDiceLoss,
    soft_cross_entropy,
    soft_target_dice_loss,
)
from meddistill.losses.svls import LabelSmoothingMap, label_smoothing_map

__all__ = [
    "IGNORE_INDEX",
    "BernoulliKL",
    "CrossEntropy",
    "KLDivergence",
    "LabelSmoothingCrossEntropy",
    "LabelSmoothingMap",
    "PartialCrossEntropy",
    "PredictionEntropy",
    "SoftCrossEntropy",
    "SoftDiceLoss",
    "SoftTargetDiceLoss",
    "SymmetricCrossEntropy",
    "bernoulli_kl",
    "binary_cross_entropy",
    "cross_entropy",
    "ensemble_bernoulli_kl",
    "ensemble_kl",
    "kl_divergence",
    "label_smoothing_cross_entropy",
    "label_smoothing_map",
    "masked_mean",
    "partial_cross_entropy",
    "prediction_entropy",
    "soft_cross_entropy",
    "soft_dice_loss",
    "soft_target_dice_loss",
    "symmetric_cross_entropy",
]
