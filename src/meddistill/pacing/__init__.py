"""Curricula: difficulty scores, thresholds from histograms, schedules, and the weights made of them."""

from meddistill.pacing.confidence import (
    Boundary,
    Lowest,
    MostLikelyClass,
    Score,
    Stretched,
    TrueClass,
    max_confidence,
    true_class_confidence,
)
from meddistill.pacing.ramp import SigmoidRamp
from meddistill.pacing.schedule import LinearPacing, Pacing, RisingPacing
from meddistill.pacing.threshold import ConfidenceHistogram, threshold_for_fraction
from meddistill.pacing.weights import (
    BatchMean,
    Everything,
    HardMask,
    Product,
    SoftWeight,
    Weight,
    falling_floor,
    rising_floor,
)

__all__ = [
    "BatchMean",
    "Boundary",
    "ConfidenceHistogram",
    "Everything",
    "HardMask",
    "LinearPacing",
    "Lowest",
    "MostLikelyClass",
    "Pacing",
    "Product",
    "RisingPacing",
    "Score",
    "SigmoidRamp",
    "SoftWeight",
    "Stretched",
    "TrueClass",
    "Weight",
    "falling_floor",
    "max_confidence",
    "rising_floor",
    "threshold_for_fraction",
    "true_class_confidence",
]
