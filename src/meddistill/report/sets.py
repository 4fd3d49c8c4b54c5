"""The scores of one set of cases on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meddistill.evaluation.cautions import summary_caution
from meddistill.report import figures
from meddistill.report.answers import AnswersView, answers_view
from meddistill.report.numbers import interval, metric, metric_label, number, score, set_words
from meddistill.report.overlays import CaseView, case_views, legend
from meddistill.report.reading import SetContent
from meddistill.report.reliability import reliability
from meddistill.report.svg import Picture
from meddistill.report.tables import Table, case_table
from meddistill.report.verdict import count_sentences, mapping


@dataclass(frozen=True)
class MetricRow:
    """One metric of a set of cases in words."""

    label: str
    meaning: str
    mean: str
    interval: str
    cases: str


@dataclass(frozen=True)
class SetView:
    """What the page shows of a set beside the first; `words` names it."""

    name: str
    words: str
    metrics: list[MetricRow]
    classes: dict[str, list[MetricRow]]
    branches: dict[str, list[MetricRow]]
    pictures: tuple[Picture, ...]
    cases: tuple[CaseView, ...]
    legend: list[tuple[str, str]]
    shows_uncertainty: bool
    table: Table | None
    counts: list[str]
    answers: AnswersView | None
    caution: str


def set_view(content: SetContent, class_names: Sequence[str]) -> SetView:
    """The view of a set.

    Args:
        content: what `read_run` found of it.
        class_names: names of the label values.
    """
    summary, gallery, words = content.summary, content.gallery, set_words(content.name)
    ece = mapping(summary.get("dataset")).get("ece")
    answers = answers_view(summary, content.wrong, words)
    drawn = (
        *(answers.pictures if answers else ()),
        figures.dice_by_case(content.scores, words),
        reliability(mapping(summary.get("reliability")), f"Student, {words}", ece, answers_noun(summary)),
    )
    return SetView(
        name=content.name,
        words=words,
        metrics=metric_rows(summary, unit_of(summary)),
        classes=class_rows(summary),
        branches=branch_rows(summary),
        pictures=tuple(picture for picture in drawn if picture),
        cases=case_views(gallery, class_names, f"{content.name}-") if gallery else (),
        legend=legend(gallery, class_names) if gallery else [],
        shows_uncertainty=gallery is not None and gallery.uncertainty is not None,
        table=case_table(content.scores),
        counts=count_sentences(mapping(summary.get("counts"))),
        answers=answers,
        caution=summary_caution(summary),
    )


def metric_rows(summary: Mapping[str, Any], unit: str) -> list[MetricRow]:
    """Rows of the `metrics` in a summary, or in the part of it that belongs to one class."""
    rows = []
    for name, value in mapping(summary.get("metrics")).items():
        estimate = mapping(value)
        rows.append(
            MetricRow(
                label=metric_label(name, unit),
                meaning=metric(name).explanation,
                mean=score(estimate.get("mean"), name),
                interval=interval(estimate, name),
                cases=number(estimate.get("n"), 0),
            )
        )
    return rows


def class_rows(summary: Mapping[str, Any]) -> dict[str, list[MetricRow]]:
    """The metrics of each class, where there are several; of whole images they have a table of their own."""
    classes = {} if summary.get("task") else mapping(summary.get("classes"))
    unit = unit_of(summary)
    return {name: metric_rows(mapping(part), unit) for name, part in classes.items() if len(classes) > 1}


def branch_rows(summary: Mapping[str, Any]) -> dict[str, list[MetricRow]]:
    """The metrics of the student's other branches."""
    unit = unit_of(summary)
    return {name: metric_rows(mapping(part), unit) for name, part in mapping(summary.get("branches")).items()}


def answers_noun(summary: Mapping[str, Any]) -> str:
    """What confidence is of: the pixels of maps, or answers about whole images."""
    return "answers" if summary.get("task") else "pixels"


def unit_of(summary: Mapping[str, Any]) -> str:
    """The unit of distances."""
    return str(summary.get("unit") or "")
