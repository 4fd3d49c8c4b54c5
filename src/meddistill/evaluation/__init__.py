"""Per-case scores, calibration and statistics.

The names below are imported when they are first used, so that `import meddistill.evaluation` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meddistill._lazy import lazy_names

if TYPE_CHECKING:
    from meddistill.evaluation.answer_comparison import compare_answers
    from meddistill.evaluation.answers import AnswerTable
    from meddistill.evaluation.attack_check import AttackFindings, check_attack
    from meddistill.evaluation.attacks import fgsm, pgd
    from meddistill.evaluation.calibration_error import (
        adaptive_calibration_error,
        classwise_calibration_error,
    )
    from meddistill.evaluation.calibration_tally import CalibrationTally
    from meddistill.evaluation.class_metrics import CLASS_METRICS
    from meddistill.evaluation.classification import answer_images, summarise_answers
    from meddistill.evaluation.compare import Comparison, compare_runs
    from meddistill.evaluation.gallery import Gallery, make_gallery
    from meddistill.evaluation.margin import MarginTest
    from meddistill.evaluation.mean_interval import mean_ci
    from meddistill.evaluation.members import dropout_members, turned_members
    from meddistill.evaluation.metrics import METRICS
    from meddistill.evaluation.overlap import (
        dice_score,
        iou_score,
        overlap_counts,
        precision_score,
        recall_score,
    )
    from meddistill.evaluation.permutation import sign_flip_p
    from meddistill.evaluation.proper_scores import brier_score, negative_log_likelihood
    from meddistill.evaluation.reliability import ReliabilityBins, expected_calibration_error
    from meddistill.evaluation.scores import score_case, score_cases
    from meddistill.evaluation.selective import CaseRanking, PixelRanking, RiskCoverage
    from meddistill.evaluation.selective_summary import summarise_selective
    from meddistill.evaluation.statistics import PairedTest, bootstrap_ci, holm, paired_test, rank_biserial
    from meddistill.evaluation.summary import summarise
    from meddistill.evaluation.surface import (
        average_surface_distance,
        hausdorff95,
        normalised_surface_dice,
        surface_distances,
    )
    from meddistill.evaluation.table import ScoreTable
    from meddistill.evaluation.tiling import ByPatches, BySlices, Resized
    from meddistill.evaluation.uncertainty import Mixture, case_uncertainty
    from meddistill.evaluation.volumes import score_volume, score_volumes

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "AnswerTable",
    "AttackFindings",
    "ByPatches",
    "BySlices",
    "CalibrationTally",
    "CaseRanking",
    "Comparison",
    "Gallery",
    "MarginTest",
    "Mixture",
    "PairedTest",
    "PixelRanking",
    "ReliabilityBins",
    "Resized",
    "RiskCoverage",
    "ScoreTable",
    "adaptive_calibration_error",
    "answer_images",
    "average_surface_distance",
    "bootstrap_ci",
    "brier_score",
    "case_uncertainty",
    "check_attack",
    "classwise_calibration_error",
    "compare_answers",
    "compare_runs",
    "dice_score",
    "dropout_members",
    "expected_calibration_error",
    "fgsm",
    "hausdorff95",
    "holm",
    "iou_score",
    "make_gallery",
    "mean_ci",
    "negative_log_likelihood",
    "normalised_surface_dice",
    "overlap_counts",
    "paired_test",
    "pgd",
    "precision_score",
    "rank_biserial",
    "recall_score",
    "score_case",
    "score_cases",
    "score_volume",
    "score_volumes",
    "sign_flip_p",
    "summarise",
    "summarise_answers",
    "summarise_selective",
    "surface_distances",
    "turned_members",
]

_MODULES = {
    "attack_check": ("AttackFindings", "check_attack"),
    "attacks": ("fgsm", "pgd"),
    "answers": ("AnswerTable",),
    "calibration_error": ("adaptive_calibration_error", "classwise_calibration_error"),
    "calibration_tally": ("CalibrationTally",),
    "class_metrics": ("CLASS_METRICS",),
    "classification": ("answer_images", "summarise_answers"),
    "compare": ("Comparison", "compare_runs"),
    "answer_comparison": ("compare_answers",),
    "gallery": ("Gallery", "make_gallery"),
    "margin": ("MarginTest",),
    "mean_interval": ("mean_ci",),
    "members": ("dropout_members", "turned_members"),
    "metrics": ("METRICS",),
    "overlap": ("dice_score", "iou_score", "overlap_counts", "precision_score", "recall_score"),
    "permutation": ("sign_flip_p",),
    "proper_scores": ("brier_score", "negative_log_likelihood"),
    "reliability": ("ReliabilityBins", "expected_calibration_error"),
    "scores": ("score_case", "score_cases"),
    "selective": ("CaseRanking", "PixelRanking", "RiskCoverage"),
    "selective_summary": ("summarise_selective",),
    "statistics": ("PairedTest", "bootstrap_ci", "holm", "paired_test", "rank_biserial"),
    "summary": ("summarise",),
    "surface": (
        "average_surface_distance",
        "hausdorff95",
        "normalised_surface_dice",
        "surface_distances",
    ),
    "table": ("ScoreTable",),
    "tiling": ("ByPatches", "BySlices", "Resized"),
    "uncertainty": ("Mixture", "case_uncertainty"),
    "volumes": ("score_volume", "score_volumes"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
