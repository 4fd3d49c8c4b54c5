"""What the page of a run says of the student's uncertainty: calibration, errors that it finds, referrals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meddistill.report.figures import risk_curves
from meddistill.report.numbers import ABSENT, compact, interval, number, score, set_words
from meddistill.report.reading import RunContent, to_number
from meddistill.report.reliability import reliability
from meddistill.report.svg import Picture
from meddistill.report.tables import Table
from meddistill.report.uncertainty_tables import (
    honesty_table,
    measures_of,
    noun_of,
    referral_table,
    score_name,
    worth_table,
)
from meddistill.report.verdict import mapping

_CALIBRATIONS = {
    "temperature": "one temperature,",
    "class": "a temperature for each class,",
    "local": "a temperature for each pixel, round",
}
_WAYS = {
    "entropy": "the entropy of its one answer",
    "mc_dropout": "its answers with dropout on",
    "tta": "its answers about turned images",
    "ensemble": "its disagreement with the students of other runs",
}


@dataclass(frozen=True)
class UncertaintyView:
    """The section of the page: sentences, tables and pictures."""

    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]


def uncertainty_view(content: RunContent) -> UncertaintyView | None:
    """The view of `evaluation/uncertainty.json`; None where nothing was asked.

    Args:
        content: what `read_run` found.

    Example:
        >>> from pathlib import Path
        >>> refer = [{"share": 0.0, "mean": 0.8}, {"share": 0.1, "mean": 0.85, "low": 0.8, "high": 0.9}]
        >>> found = {"split": "test", "task": "segmentation", "uncertainty": {"kind": "entropy"}}
        >>> found |= {"measures": {"entropy": {"cases": {"refer": refer}}}}
        >>> referred = uncertainty_view(RunContent(Path("r"), uncertainty=found)).sentences[-1]
        >>> referred.split("; ")[0].removeprefix("With the least certain 10 % of the cases referred, ")
        'the mean Dice of the rest is 0.850 instead of 0.800'
    """
    found = content.uncertainty
    if not found:
        return None
    drawn = (*_reliability(found), _risk(found))
    tables = (honesty_table(found), worth_table(found), referral_table(found))
    return UncertaintyView(
        tuple(_sentences(found)),
        tuple(table for table in tables if table.rows),
        tuple(picture for picture in drawn if picture),
    )


def _sentences(found: Mapping[str, Any]) -> Iterator[str]:
    kind = mapping(found.get("uncertainty")).get("kind")
    error = to_number(found.get("error_below"))
    what = "a wrong answer" if error is None else f"a Dice below {compact(error)}"
    yield (
        f"How uncertain the student is was read from {_WAYS.get(str(kind), kind)}, on the "
        f"{set_words(str(found.get('split')))}. An error of a case is {what}."
    )
    if calibration := mapping(found.get("calibration")):
        yield _calibrated(calibration)
    yield from _referred(found)


def _calibrated(calibration: Mapping[str, Any]) -> str:
    values = calibration.get("temperatures") or [calibration.get("temperature")]
    what = _CALIBRATIONS.get(str(calibration.get("kind")), "a temperature of")
    split, cases = calibration.get("fitted_on"), number(calibration.get("fitted_cases"), 0)
    chose = ", which also chose the epoch" if split == "selection" else ""
    return (
        f"The student was calibrated after the fact by {what} {', '.join(map(compact, values))}, fitted on "
        f"{cases} cases of the {split} split{chose}. Its weights and all other sections are as they were."
    )


def _referred(found: Mapping[str, Any]) -> Iterator[str]:
    """What referring the least certain cases brings, by the leading measure."""
    rows = next((mapping(both.get("cases")).get("refer") or [] for both in measures_of(found).values()), [])
    by_share = {row["share"]: row for row in rows}
    everything, rest = mapping(by_share.get(0.0)), mapping(by_share.get(0.1))
    if to_number(rest.get("mean")) is None:
        return
    name, range_ = score_name(found), interval(rest, "dice")
    known = "" if range_ == ABSENT else f"; 95 % CI {range_}"
    yield (
        f"With the least certain 10 % of the cases referred, the mean {name} of the rest is "
        f"{score(rest['mean'], 'dice')} instead of {score(everything.get('mean'), 'dice')}{known}."
    )


def _reliability(found: Mapping[str, Any]) -> Iterator[Picture | None]:
    parts = {
        "Student, as trained": mapping(found.get("uncalibrated")),
        "Student, calibrated": mapping(mapping(found.get("calibration")).get("calibrated")),
    }
    for who, part in parts.items():
        yield reliability(mapping(part.get("reliability")), who, part.get("ece"), noun_of(found))


def _risk(found: Mapping[str, Any]) -> Picture | None:
    curves = {measure: _points(mapping(both.get("cases"))) for measure, both in measures_of(found).items()}
    label = "1 − Dice of the kept cases" if score_name(found) == "Dice" else "errors among the kept cases"
    return risk_curves(curves, label)


def _points(numbers: Mapping[str, Any]) -> list[tuple[float, float]]:
    curve = mapping(numbers.get("curve"))
    return list(zip(curve.get("coverage") or (), curve.get("risk") or (), strict=False))
