"""What the report says of attacks: scores by strength, and whether the attacks did what attacks must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meddistill.report.figures import strength_curves
from meddistill.report.numbers import compact, interval, metric, score, set_words
from meddistill.report.reading import RunContent, to_number
from meddistill.report.svg import Picture
from meddistill.report.tables import Cell, Column, Table
from meddistill.report.verdict import mapping

_OF_MAPS, _OF_IMAGES = ("dice", "iou"), ("f1_macro", "auroc")
"""The metrics that are shown; the first of them is drawn."""

_GREY_LEVELS = 255


@dataclass(frozen=True)
class AttackView:
    """One attack: its name, its table, and what is wrong with it."""

    name: str
    table: Table
    problems: tuple[str, ...]


@dataclass(frozen=True)
class AttacksView:
    """All attacks of a run, and the curves of their scores."""

    attacks: tuple[AttackView, ...]
    picture: Picture | None


def attacks_view(content: RunContent) -> AttacksView | None:
    """The view of `evaluation/attacks.json`; None where nothing was attacked.

    Args:
        content: what `read_run` found.

    Example:
        >>> from pathlib import Path
        >>> found = {"kind": "fgsm", "of": "test", "sets": ["test", "weak"], "eps": [0, 1 / 255]}
        >>> found |= {"accuracy": [0.9, 0.5], "loss": [0.2, 0.8], "problems": []}
        >>> view = attacks_view(RunContent(Path("r"), attacks={"weak": found}))
        >>> [[cell.text for cell in row][-2:] for row in view.attacks[0].table.rows]
        [['0.900', '0.2'], ['0.500', '0.8']]
    """
    found = {name: mapping(value) for name, value in content.attacks.items()}
    if not found:
        return None
    summaries = {content.scored: content.summary} | {other.name: other.summary for other in content.others}
    metrics = _OF_IMAGES if content.summary.get("task") else _OF_MAPS
    views = tuple(_view(name, value, summaries, metrics) for name, value in found.items())
    curves = {name: _curve(value, summaries, metrics[0]) for name, value in found.items()}
    return AttacksView(views, strength_curves(curves, metric(metrics[0]).label))


def _view(
    name: str, found: Mapping[str, Any], summaries: Mapping[str, Any], metrics: Sequence[str]
) -> AttackView:
    columns = (
        Column("Largest change", "of a pixel, in grey levels of 255; 0 is without an attack", numeric=True),
        *(Column(metric(each).label, metric(each).explanation, numeric=True) for each in metrics),
        Column("Accuracy", "share of all pixels, or of all answers, that are right", numeric=True),
        Column("Loss", "mean cross-entropy, which the attack raises", numeric=True),
    )
    caption = f"Attack {name} ({found.get('kind')}) on the {set_words(str(found.get('of')))}"
    rows = zip(*(_list(found, key) for key in ("sets", "accuracy", "loss")), _grey_levels(found), strict=True)
    cells = tuple(
        (
            Cell(compact(eps), eps),
            *(_estimate(summaries.get(made), each) for each in metrics),
            Cell(score(accuracy, "accuracy"), to_number(accuracy)),
            Cell(compact(loss), to_number(loss)),
        )
        for made, accuracy, loss, eps in rows
    )
    return AttackView(name, Table(caption, columns, cells), tuple(map(str, _list(found, "problems"))))


def _estimate(summary: Any, name: str) -> Cell:
    """The mean of a metric with its interval."""
    estimate = mapping(mapping(mapping(summary).get("metrics")).get(name))
    mean = to_number(estimate.get("mean"))
    return Cell(score(mean, name), mean, note="" if mean is None else interval(estimate, name))


def _curve(found: Mapping[str, Any], summaries: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """The points (eps, mean) of a metric where it is defined."""
    cells = (_estimate(summaries.get(made), name) for made in _list(found, "sets"))
    pairs = zip(_grey_levels(found), cells, strict=True)
    return [(eps, cell.value) for eps, cell in pairs if isinstance(cell.value, float)]


def _grey_levels(found: Mapping[str, Any]) -> list[float]:
    return [round(float(eps) * _GREY_LEVELS, 6) for eps in _list(found, "eps")]


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    return list(found.get(key) or ())
