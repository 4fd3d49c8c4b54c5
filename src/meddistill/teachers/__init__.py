"""Teachers: anything that maps an image to logits, frozen and calibrated."""

from meddistill.teachers.accuracy import AccuracyCheck
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.calibration import Calibration, fit_temperature
from meddistill.teachers.check import TeacherCheck
from meddistill.teachers.ensemble import Ensemble
from meddistill.teachers.loading import load_teacher
from meddistill.teachers.teacher import Teacher

__all__ = [
    "AccuracyCheck",
    "BaseTeacher",
    "Calibration",
    "Ensemble",
    "Teacher",
    "TeacherCheck",
    "fit_temperature",
    "load_teacher",
]
