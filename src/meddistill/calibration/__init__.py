"""Temperatures that make probabilities honest, fitted on held-out labels: of a set, of classes, of pixels."""

from meddistill.calibration.calibrators import (
    Calibrated,
    Calibrator,
    ClassTemperature,
    LocalTemperature,
    Temperature,
)
from meddistill.calibration.class_temperature import fit_class_temperature
from meddistill.calibration.examples import Kept
from meddistill.calibration.fitting import CALIBRATORS, Fitted, fit_calibrator
from meddistill.calibration.local_temperature import fit_local_temperature
from meddistill.calibration.stored import load_calibrator, save_calibrator
from meddistill.calibration.temperature import Calibration, fit_temperature

__all__ = [
    "CALIBRATORS",
    "Calibrated",
    "Calibration",
    "Calibrator",
    "ClassTemperature",
    "Fitted",
    "Kept",
    "LocalTemperature",
    "Temperature",
    "fit_calibrator",
    "fit_class_temperature",
    "fit_local_temperature",
    "fit_temperature",
    "load_calibrator",
    "save_calibrator",
]
