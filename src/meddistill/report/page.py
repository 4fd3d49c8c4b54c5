"""`write_report`: the page of one run, made from the files of its folder and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddistill.evaluation.cautions import summary_caution
from meddistill.files import write_text
from meddistill.report import figures
from meddistill.report.answers import answers_view
from meddistill.report.attacks import attacks_view
from meddistill.report.excluded import exclusion_view
from meddistill.report.labels import label_sentences
from meddistill.report.numbers import (
    ABSENT,
    duration,
    interval,
    magnitude,
    metric_label,
    number,
    score,
    set_words,
)
from meddistill.report.overlays import case_views, legend
from meddistill.report.reading import RunContent, SetContent, read_run, to_number
from meddistill.report.reliability import reliability
from meddistill.report.sets import answers_noun, branch_rows, class_rows, metric_rows, set_view, unit_of
from meddistill.report.stored import stored_pairs
from meddistill.report.svg import Picture
from meddistill.report.tables import case_table, history_table, settings
from meddistill.report.templates import render
from meddistill.report.uncertainty import uncertainty_view
from meddistill.report.verdict import (
    count_sentences,
    mapping,
    method_name,
    student_name,
    teacher_name,
    verdict,
)
from meddistill.training.run_folder import RunFolder

_CARD_METRICS = ("auroc", "balanced_accuracy", "accuracy", "dice", "iou", "hd95", "ece")
_TEACHER_SCORES = {"mean_dice": "Dice", "accuracy": "accuracy", "mean_auroc": "AUROC"}


@dataclass(frozen=True)
class Card:
    """One key figure: its name, the number as text, and a line beneath."""

    label: str
    text: str
    note: str = ""


def write_report(run: Path | RunFolder) -> Path:
    """Write `report.html` of a run: one page that needs no other file and no network.

    A run that is still training, or lacks some of its files, gets a page that says what is missing.

    Args:
        run: the run folder.

    Returns:
        The file written, `report.html` in the run folder; it is replaced in one step.

    Raises:
        RunError: the folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> page = write_report(Path(tempfile.mkdtemp()))
        >>> page.name, "config.yaml is not in the run folder" in page.read_text(encoding="utf-8")
        ('report.html', True)
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    write_text(folder.report, run_page(read_run(folder)))
    return folder.report


def run_page(content: RunContent) -> str:
    """The page of a run as HTML.

    Args:
        content: what `read_run` found.
    """
    return render(
        "run.html",
        title=_title(content),
        method=method_name(content),
        student=student_name(content),
        teacher=teacher_name(content),
        verdict=verdict(content),
        progress=_progress(content),
        missing=content.missing,
        cards=_cards(content),
        metrics=metric_rows(content.summary, unit_of(content.summary)),
        classes=class_rows(content.summary),
        branches=branch_rows(content.summary),
        answers=answers_view(content.summary, content.wrong, set_words(content.scored)),
        noun=answers_noun(content.summary).removesuffix("s"),
        dice_picture=figures.dice_by_case(content.scores),
        curves=_curves(content),
        labels=tuple(label_sentences(content.environment)),
        exclusion=exclusion_view(content.exclusion, content.environment),
        pacing=figures.pacing_curve(content.history),
        history=history_table(content.history),
        reliability=_reliability(content),
        temperature=to_number(content.calibration.get("temperature")),
        criterion=content.calibration.get("criterion"),
        cases=case_views(content.gallery, _class_names(content)) if content.gallery else (),
        legend=legend(content.gallery, _class_names(content)) if content.gallery else (),
        shows_uncertainty=content.gallery is not None and content.gallery.uncertainty is not None,
        table=case_table(content.scores),
        counts=count_sentences(mapping(content.summary.get("counts"))),
        policy=content.summary.get("policy"),
        caution=summary_caution(content.summary),
        scored=set_words(content.scored),
        attacks=attacks_view(content),
        uncertainty=uncertainty_view(content),
        others=[set_view(other, _class_names(content)) for other in _not_attacked(content)],
        config_text=content.config_text,
        environment=tuple(settings(content.environment)),
        start=tuple(settings(mapping(content.model.get("start")))),
        teacher_check=tuple(settings(content.teacher)),
        teacher_store=tuple(stored_pairs(content.teacher_store)),
    )


def _not_attacked(content: RunContent) -> list[SetContent]:
    """The other sets that have a section of their own."""
    attacked = mapping(content.environment.get("attacks"))
    return [other for other in content.others if other.name not in attacked]


def _title(content: RunContent) -> str:
    folder, recipe = content.root.resolve().name, str(content.config.get("name") or "")
    return f"{recipe}: {folder}" if recipe and recipe != folder else folder


def _progress(content: RunContent) -> str:
    """What the reader must know of a training that has not ended; empty for a finished run."""
    state, done = content.state.get("state"), to_number(content.state.get("epochs_done"))
    if state == "finished" or not content.state:
        return ""
    planned = to_number(mapping(content.config.get("training")).get("epochs"))
    span = "" if done is None else f", {done:.0f}{f' of {planned:.0f}' if planned else ''} epochs done"
    return f"This run is not finished ({state or 'state unknown'}{span}); its numbers will change."


def _cards(content: RunContent) -> list[Card]:
    metrics, unit = mapping(content.summary.get("metrics")), unit_of(content.summary)
    cards = [_metric_card(name, mapping(metrics[name]), unit) for name in _CARD_METRICS if name in metrics]
    cards += _teacher_card(content.teacher)
    if (parameters := magnitude(content.model.get("parameters"))) != ABSENT:
        cards.append(Card("Parameters", parameters, _compression(content.model)))
    if (seconds := duration(content.state.get("seconds"))) != ABSENT:
        cards.append(Card("Training time", seconds, _epochs(content)))
    return cards


def _metric_card(name: str, estimate: Mapping[str, Any], unit: str) -> Card:
    range_ = interval(estimate, name)
    note = "" if range_ == ABSENT else f"95\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}CI {range_}"
    return Card(metric_label(name, unit), score(estimate.get("mean"), name), note)


def _teacher_card(teacher: Mapping[str, Any]) -> list[Card]:
    """The teacher's score, which was taken before training and not on the test split."""
    where = " ".join(str(teacher[key]) for key in ("cases", "split") if teacher.get(key))
    note = f"on {where} cases".strip()
    return [
        Card(f"Teacher’s {label}", score(teacher[key], "dice"), note)
        for key, label in _TEACHER_SCORES.items()
        if to_number(teacher.get(key)) is not None
    ]


def _compression(model: Mapping[str, Any]) -> str:
    own, teachers = to_number(model.get("parameters")), to_number(model.get("teacher_parameters"))
    return (
        f"{number(teachers / own, 1)} times fewer than the teacher"
        if own and teachers and teachers > own
        else ""
    )


def _epochs(content: RunContent) -> str:
    done, best = to_number(content.state.get("epochs_done")), _best_epoch(content)
    parts = [
        f"{done:.0f} epochs" if done is not None else "",
        f"epoch {best:.0f} chosen, counted from 0" if best is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _best_epoch(content: RunContent) -> float | None:
    best = to_number(content.state.get("best_epoch"))
    return best if best is not None and best >= 0 else None


def _curves(content: RunContent) -> list[Picture]:
    best = _best_epoch(content)
    drawn = [figures.loss_curves(content.history, best), figures.selection_curve(content.history, best)]
    return [picture for picture in drawn if picture]


def _reliability(content: RunContent) -> list[Picture]:
    known = content.calibration
    drawn = (
        (
            content.summary.get("reliability"),
            f"Student, {set_words(content.scored)}",
            mapping(content.summary.get("dataset")).get("ece"),
        ),
        (known.get("bins_before"), "Teacher, before calibration", known.get("ece_before")),
        (known.get("bins_after"), "Teacher, after calibration", known.get("ece_after")),
    )
    noun = answers_noun(content.summary)
    pictures = [reliability(mapping(bins), who, ece, noun) for bins, who, ece in drawn]
    return [picture for picture in pictures if picture]


def _class_names(content: RunContent) -> list[str]:
    names = content.model.get("class_names")
    return [str(name) for name in names] if isinstance(names, list) else []
