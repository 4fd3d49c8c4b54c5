"""What a page shows of answers about whole images: classes, confusion, ROC curves and the worst errors."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from meddistill.report.figures import class_curves
from meddistill.report.numbers import interval, metric, number, score
from meddistill.report.overlays import png_address
from meddistill.report.reading import to_number
from meddistill.report.svg import INK, NARROW, SERIES, WIDTH, Picture, drawing
from meddistill.report.tables import Cell, Column, Table

CLASS_COLUMNS = ("recall", "specificity", "precision", "f1", "auroc", "average_precision")
"""Scores of each class, as the table of classes shows them."""

_MOST_CURVES = 6
"""More curves than that cannot be told apart; those of the rarest classes are drawn."""


@dataclass(frozen=True)
class WrongView:
    """One image that was answered wrongly: its id, the image, and who says what."""

    case: str
    image: Markup
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AnswersView:
    """The part of a page that only answers about whole images have.

    Args:
        classes: the scores of each class.
        pictures: confusion and ROC curves.
        wrong: the worst errors.
        several: labels do not exclude each other.
    """

    classes: Table | None
    pictures: tuple[Picture, ...]
    wrong: tuple[WrongView, ...]
    several: bool


def answers_view(summary: Mapping[str, Any], gallery: Path | None, words: str) -> AnswersView | None:
    """The view of a set of images; None where its summary is of maps.

    Args:
        summary: what `summarise_answers` found.
        gallery: the file of the worst errors, where there is one.
        words: what the set of images is called.
    """
    if not summary.get("task"):
        return None
    names = list(summary.get("classes") or {})
    confusion = summary.get("confusion") or []
    several = summary["task"] == "multi_label"
    drawn = (None if several else confusion_picture(confusion, names), class_curves(summary, _MOST_CURVES))
    return AnswersView(
        classes=class_table(summary, words),
        pictures=tuple(picture for picture in drawn if picture),
        wrong=_wrong(gallery) if gallery else (),
        several=several,
    )


def class_table(summary: Mapping[str, Any], words: str = "") -> Table | None:
    """One line a class: its images, how often it is answered, and its scores with intervals."""
    classes = summary.get("classes") or {}
    if not classes:
        return None
    columns = (
        Column("Class"),
        Column("Images", "of this class in truth", numeric=True),
        Column("Answered", "how often the student says so", numeric=True),
        *(Column(metric(name).label, metric(name).explanation, numeric=True) for name in CLASS_COLUMNS),
    )
    rows = tuple(_class_row(name, part) for name, part in classes.items())
    return Table(f"Scores of each class, {words}" if words else "Scores of each class", columns, rows)


def confusion_picture(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Picture | None:
    """The confusion matrix: true classes down, answers across, shaded by the share of the true class."""
    counts = np.array(confusion, dtype=float)
    if counts.ndim != 2 or not counts.size or len(names) != len(counts):
        return None
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    side = min(WIDTH, max(NARROW, 1.6 + 0.5 * len(names)))
    with drawing(side, side) as canvas:
        axes = canvas.axes(xlabel="answer", ylabel="truth")
        _draw_cells(axes, counts, shares)
        places = range(len(names))
        axes.set_xticks(places, [_short(name) for name in names], rotation=0 if len(names) < 4 else 60)
        axes.set_yticks(places, [_short(name) for name in names])
        axes.grid(visible=False)
    return canvas.picture("Confusion matrix", _confusion_words(counts, shares, names))


def _draw_cells(axes: Any, counts: npt.NDArray[Any], shares: npt.NDArray[Any]) -> None:
    from matplotlib.patches import Rectangle

    size = len(counts)
    for row in range(size):
        for column in range(size):
            colour = SERIES[0] if row == column else SERIES[1]
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(
                Rectangle(corner, 1, 1, color=colour, alpha=0.75 * shares[row, column], linewidth=0)
            )
            if size <= 12:
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=INK)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")


def _confusion_words(counts: npt.NDArray[Any], shares: npt.NDArray[Any], names: Sequence[str]) -> str:
    right = [f"{name} {counts[k, k]:.0f} of {counts[k].sum():.0f}" for k, name in enumerate(names)]
    apart = shares - np.diag(np.diag(shares))
    row, column = divmod(int(apart.argmax()), len(apart))
    words = f"Recognised: {', '.join(right)}."
    if apart[row, column] > 0:
        words += f" Most often taken for another: {names[row]} for {names[column]} "
        words += f"({counts[row, column]:.0f} times)."
    return words


def _class_row(name: str, part: Mapping[str, Any]) -> tuple[Cell, ...]:
    counts, metrics = part.get("counts") or {}, part.get("metrics") or {}
    numbers = [Cell(number(counts.get(key), 0), to_number(counts.get(key))) for key in ("label", "predicted")]
    scores = [_score_cell(metrics.get(column) or {}, column) for column in CLASS_COLUMNS]
    return (Cell(name, name), *numbers, *scores)


def _score_cell(estimate: Mapping[str, Any], name: str) -> Cell:
    mean = estimate.get("mean")
    return Cell(score(mean, name), to_number(mean), note=interval(estimate, name) if mean is not None else "")


def _wrong(path: Path) -> tuple[WrongView, ...]:
    from meddistill.errors import RunError
    from meddistill.evaluation.answer_gallery import AnswerGallery

    try:
        gallery = AnswerGallery.load(path)
    except (RunError, zipfile.BadZipFile, zlib.error):
        return ()
    return tuple(_wrong_view(gallery, position) for position in range(len(gallery.case)))


def _wrong_view(gallery: Any, position: int) -> WrongView:
    case, image = str(gallery.case[position]), gallery.image[position]
    pixels = np.moveaxis(image, 0, -1) if len(image) == 3 else image[0]
    facts = [("Truth", str(gallery.label[position])), ("Student", str(gallery.answer[position]))]
    facts.append(("Its probability of the truth", number(float(gallery.probability[position]), 3)))
    if gallery.teacher is not None:
        facts.append(("Teacher", str(gallery.teacher[position])))
    height, width = pixels.shape[:2]
    alt = escape(f"Image of case {case}.")
    element = Markup(
        f'<svg class="panel" role="img" aria-label="{alt}" viewBox="0 0 {width} {height}">'
        f'<image href="{png_address(pixels)}" width="{width}" height="{height}"/></svg>'
    )
    return WrongView(case, element, tuple(facts))


def _short(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"
