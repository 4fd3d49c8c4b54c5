"""Teachers: anything that maps an image to logits, frozen and calibrated, and stores of what they answer."""

from meddistill.calibration import Calibration, fit_temperature
from meddistill.teachers.accuracy import AccuracyCheck
from meddistill.teachers.annotate import annotate
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.check import TeacherCheck
from meddistill.teachers.ensemble import Ensemble
from meddistill.teachers.loading import load_teacher
from meddistill.teachers.store import TeacherStore
from meddistill.teachers.stored import JointLogits, ReplayedLogits, RowImages, manifest_for
from meddistill.teachers.teacher import Teacher

__all__ = [
    "AccuracyCheck",
    "BaseTeacher",
    "Calibration",
    "Ensemble",
    "JointLogits",
    "ReplayedLogits",
    "RowImages",
    "Teacher",
    "TeacherCheck",
    "TeacherStore",
    "annotate",
    "fit_temperature",
    "load_teacher",
    "manifest_for",
]
