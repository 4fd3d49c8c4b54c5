"""The section on uncertainty, from made-up findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meddistill.evaluation import CalibrationTally
from meddistill.evaluation.selective import CaseRanking, PixelRanking
from meddistill.evaluation.selective_summary import summarise_selective
from meddistill.report.page import run_page
from meddistill.report.reading import RunContent
from meddistill.report.uncertainty import uncertainty_view
from tests.evaluation.answer_maps import random_logits


def measured(scale: float) -> dict[str, Any]:
    tally = CalibrationTally(2)
    tally.update(*random_logits(0, (2, 2, 8, 8), scale))
    return tally.to_json()


def findings(**changes: Any) -> dict[str, Any]:
    """As `assess` gives them: four cases whose uncertainty is as good as it can be."""
    risk = np.array([0.1, 0.2, 0.3, 0.6])
    cases = CaseRanking(risk, risk, risk > 0.3)
    pixels = PixelRanking(np.full((4, 3), 20), np.tile([0, 2, 9], (4, 1)))
    worth = {
        of: summarise_selective(ranking, groups=list("abcd"), resamples=20, shares=(0.0, 0.1))
        for of, ranking in (("cases", cases), ("pixels", pixels))
    }
    calibration = {
        "kind": "temperature",
        "temperature": 1.5,
        "fitted_on": "selection",
        "fitted_cases": 9,
        "calibrated": measured(1.0),
    }
    return {
        "split": "test",
        "task": "segmentation",
        "calibration": calibration,
        "uncalibrated": measured(3.0),
        "uncertainty": {"kind": "entropy"},
        "error_below": 0.7,
        "measures": {"entropy": worth},
    } | changes


def view(**changes: Any):
    found = uncertainty_view(RunContent(Path("r"), uncertainty=findings(**changes)))
    assert found is not None
    return found


def test_sentences_say_what_was_asked_fitted_and_gained():
    asked, fitted, referred = view().sentences
    assert "the entropy of its one answer, on the test split" in asked
    assert "a Dice below 0.7" in asked
    assert "by one temperature, 1.5, fitted on 9 cases of the selection split, which also chose" in fitted
    assert "10 % of the cases referred, the mean Dice of the rest is 0.800 instead of 0.700" in referred


def test_tables_hold_both_states_and_every_order():
    honesty, worth, referrals = view().tables
    assert [column.label for column in honesty.columns] == ["Measure", "As trained", "Calibrated"]
    assert [row[0].text for row in honesty.rows] == ["ECE", "Adaptive ECE", "Class-wise ECE", "Brier", "NLL"]
    assert all(row[1].value > row[2].value for row in honesty.rows)
    assert [row[0].text for row in worth.rows] == ["entropy, by case", "entropy, by pixel"]
    assert [cell.text for cell in worth.rows[0][1:3]] == ["1.0000", "1.0000"]
    assert [column.label for column in referrals.columns] == [
        "Referred", "entropy, Dice of cases", "entropy, accuracy of pixels",
    ]  # fmt: skip
    assert [row[0].text for row in referrals.rows] == ["0 %", "10 %"]


def test_pictures_are_both_reliability_diagrams_and_the_risk():
    titles = [picture.title for picture in view().pictures]
    assert titles == ["Student, as trained", "Student, calibrated", "Risk and coverage"]


def test_answers_about_whole_images_have_no_dice():
    found = view(task="classification", error_below=None, calibration=None)
    assert "An error of a case is a wrong answer." in found.sentences[0]
    assert "the mean accuracy of the rest" in found.sentences[-1]
    assert [column.label for column in found.tables[0].columns] == ["Measure", "As trained"]


@pytest.mark.parametrize("changes", [{"measures": {}}, {"uncalibrated": None}, {"measures": {"entropy": {}}}])
def test_what_is_missing_is_left_out(changes):
    page = run_page(RunContent(Path("r"), uncertainty=findings(**changes)))
    assert 'id="uncertainty"' in page


def test_the_section_is_there_only_where_something_was_asked():
    assert 'id="uncertainty"' not in run_page(RunContent(Path("r")))
    assert 'href="#uncertainty"' in run_page(RunContent(Path("r"), uncertainty=findings()))
