"""The cases in which rows disagree most, on the page: pictures of maps, or a table of answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.disputes import Dispute, answer_of
from meddistill.report.numbers import metric, metric_label, number, score
from meddistill.report.overlays import Panel, contour_panel, image_panel
from meddistill.report.reading import to_number
from meddistill.report.tables import Cell, Column, Table

MOST_ROWS = 8
"""Rows shown of a case; of more, the best and the worst."""


@dataclass(frozen=True, eq=False)
class DisputedMaps:
    """What there is to draw of a case.

    Args:
        image: (C, H, W) uint8.
        label: (H, W) integer truth.
        predictions: (H, W) integer map of each row that has one.
    """

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.integer[Any]]
    predictions: Mapping[str, npt.NDArray[np.integer[Any]]]


@dataclass(frozen=True)
class DisputeView:
    """One case with its pictures, and the rows that are left out of them."""

    case: str
    spread: str
    panels: tuple[Panel, ...]
    left_out: int


@dataclass(frozen=True)
class DisputeParts:
    """What the page shows: a table of the cases, their pictures, and why there are none."""

    metric: str
    table: Table
    views: tuple[DisputeView, ...] = ()
    note: str = ""

    @property
    def label(self) -> str:
        """What the metric is called."""
        return metric_label(self.metric)


def dispute_table(
    found: Sequence[Dispute],
    rows: Sequence[str],
    name: str,
    answers: Mapping[str, Sequence[AnswerTable]] | None = None,
) -> Table:
    """One line a case, one column a row: its score, or its answer where the rows answer about images."""
    known = answers or {}
    columns = (
        Column("Case"),
        *([Column("Truth")] if known else []),
        *(Column(row, numeric=not known) for row in rows),
        Column("Spread", f"highest less lowest {metric_label(name)}", numeric=True),
    )
    lines = []
    for one in found:
        if known:
            said = {row: answer_of(known[row], one.case) for row in rows}
            cells = [Cell(said[rows[0]][0]), *(_answer(*said[row]) for row in rows)]
        else:
            cells = [Cell(score(value, name), to_number(value)) for value in one.scores]
        lines.append((Cell(one.case, one.case), *cells, Cell(score(one.spread, name), one.spread)))
    return Table("Cases in which the rows disagree most", columns, tuple(lines))


def dispute_views(
    found: Sequence[Dispute],
    rows: Sequence[str],
    name: str,
    maps: Mapping[str, DisputedMaps],
    class_names: Sequence[str] = (),
) -> tuple[DisputeView, ...]:
    """The pictures of every case that has maps: the image, and each row's contour over it, best row first."""
    return tuple(
        _view(one, rows, name, maps[one.case], class_names, f"dispute{place}")
        for place, one in enumerate(found)
        if one.case in maps
    )


def _view(
    one: Dispute, rows: Sequence[str], name: str, maps: DisputedMaps, class_names: Sequence[str], key: str
) -> DisputeView:
    scores = dict(zip(rows, one.scores, strict=True))
    shown = _shown([row for row in rows if row in maps.predictions], scores, name)
    layers = {"truth": maps.label} | {f"row{rows.index(row)}": maps.predictions[row] for row in shown}
    panels = [image_panel(maps.image, layers, one.case, key)]
    panels += [
        contour_panel(
            f"row{rows.index(row)}",
            layers,
            one.case,
            key,
            class_names,
            title=f"{row} {score(scores[row], name)}",
            style="student",
        )
        for row in shown
    ]
    left_out = len(maps.predictions) - len(shown)
    return DisputeView(one.case, score(one.spread, name), tuple(panels), left_out)


def _shown(rows: Sequence[str], scores: Mapping[str, float], name: str) -> list[str]:
    """The rows from the best to the worst; of many, the best half and the worst half of `MOST_ROWS`."""
    sign = 1 if metric(name).higher is False else -1
    ordered = sorted(rows, key=lambda row: (math.isnan(scores[row]), sign * scores[row]))
    half = MOST_ROWS // 2
    return ordered if len(ordered) <= MOST_ROWS else [*ordered[:half], *ordered[-half:]]


def _answer(truth: str, answer: str, probability: float) -> Cell:
    return Cell(answer, note=number(probability, 2), state="ok" if answer == truth else "missed")
