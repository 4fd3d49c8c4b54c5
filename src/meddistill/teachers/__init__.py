"""Teachers: anything that maps an image to logits, frozen and calibrated."""

from meddistill.teachers.calibration import Calibration, fit_temperature
from meddistill.teachers.check import TeacherCheck
from meddistill.teachers.loading import load_teacher
from meddistill.teachers.teacher import Teacher

__all__ = ["Calibration", "Teacher", "TeacherCheck", "fit_temperature", "load_teacher"]
