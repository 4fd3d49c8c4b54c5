"""What a run came to, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meddistill.report.numbers import ABSENT, interval, magnitude, score
from meddistill.report.reading import RunContent, to_number

_METHODS = {
    "supervised": "labels alone",
    "distillation": "knowledge distillation",
    "paced": "paced distillation",
    "pseudo_label_transfer": "transfer through teachers' masks",
}
"""Words for the names of methods; another name is shown as it is."""

_TRAINED = {"all": "all layers", "decoder": "the decoder", "head": "the last layer"}


def method_name(content: RunContent) -> str:
    """The method in words, with its mode; self-distillation when teacher and student are of one architecture.

    Example:
        >>> from pathlib import Path
        >>> method_name(RunContent(Path("r"), config={"method": {"name": "paced", "mode": "tpl_uncert"}}))
        'paced distillation (tpl_uncert)'
        >>> kd = {"method": {"name": "distillation"}}
        >>> method_name(RunContent(Path("r"), config=kd, model={"self_distillation": True}))
        'self-distillation'
    """
    method = content.config.get("method")
    name = _METHODS.get(_name(method), _name(method)) or "an unknown method"
    if content.model.get("self_distillation"):
        name = name.removeprefix("knowledge ").replace("distillation", "self-distillation")
    mode = method.get("mode") if isinstance(method, Mapping) else None
    return f"{name} ({mode})" if mode else name


def student_name(content: RunContent) -> str:
    """Name of the student network with its number of parameters, if known."""
    recipe = content.config
    name = _name(content.model) or _name(recipe.get("student")) or _name(recipe.get("model")) or "network"
    parameters = magnitude(content.model.get("parameters"))
    return name if parameters == ABSENT else f"{name} ({parameters} parameters)"


def teacher_name(content: RunContent) -> str:
    """Name of the teacher; empty when the run has none."""
    return _name(content.model.get("teacher")) or _name(content.config.get("teacher"))


def verdict(content: RunContent) -> str:
    """One sentence: who learned what from whom, how well, on how many cases, and what was missed.

    Example:
        >>> from pathlib import Path
        >>> summary = {"metrics": {"dice": {"mean": 0.8, "n": 10}}, "counts": {"cases": 12}}
        >>> verdict(RunContent(Path("r"), summary=summary, config={"method": "kd", "student": "unet"}))
        'The student unet, trained with kd, reaches a mean Dice of 0.800 over 10 of 12 test cases.'
    """
    teacher = teacher_name(content)
    taught = f"taught by {teacher}" if teacher else "trained"
    who = f"The student {student_name(content)}{_start(content)}, {taught} with {method_name(content)},"
    name, article = ("auroc", "an AUROC") if content.summary.get("task") else ("dice", "a mean Dice")
    found = mapping(mapping(content.summary.get("metrics")).get(name))
    if to_number(found.get("mean")) is None:
        return f"{who} has no {content.scored} scores yet."
    range_ = interval(found, name)
    spread = "" if range_ == ABSENT else f" (95 % CI {range_})"
    return (
        f"{who} reaches {article} of {score(found['mean'], name)}{spread}"
        f"{_cases(content.summary, found, content.scored)}."
    )


def _start(content: RunContent) -> str:
    """Where the student started and how much of it was trained; empty for random weights."""
    start = mapping(content.model.get("start"))
    if not start:
        return ""
    part = _TRAINED.get(str(start.get("layers")), str(start.get("layers")))
    count = magnitude(start.get("trained_parameters"))
    return f", which started from {start.get('path')} ({part} trained: {count} parameters)"


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def count_sentences(counts: Mapping[str, Any]) -> list[str]:
    """The counts of a summary in words, the zero ones too, because they are news as well.

    Example:
        >>> count_sentences({"cases": 9, "missed": 1, "both_empty": 2, "false_alarm": 0})
        ['1 missed', '0 false alarms', '2 empty in truth and prediction']
    """
    wrong, unknown, absent = (to_number(counts.get(key)) for key in ("wrong", "unlabelled", "absent_classes"))
    if wrong is not None:
        return [
            f"{wrong:.0f} wrong",
            *([f"{unknown:.0f} without a label"] if unknown else []),
            *([f"{absent:.0f} class{'' if absent == 1 else 'es'} without an image"] if absent else []),
        ]
    missed, alarms, empty = (to_number(counts.get(key)) for key in ("missed", "false_alarm", "both_empty"))
    sentences = []
    if missed is not None:
        sentences.append(f"{missed:.0f} missed")
    if alarms is not None:
        sentences.append(f"{alarms:.0f} false alarm{'' if alarms == 1 else 's'}")
    if empty is not None:
        sentences.append(f"{empty:.0f} empty in truth and prediction")
    return sentences


def _cases(summary: Mapping[str, Any], dice: Mapping[str, Any], where: str) -> str:
    counts = mapping(summary.get("counts"))
    cases, used = to_number(counts.get("cases")), to_number(dice.get("n"))
    parts = count_sentences(counts)
    detail = f": {', '.join(parts)}" if parts else ""
    if cases is not None and used is not None and used < cases:
        return f" over {used:.0f} of {cases:.0f} {where} cases{detail}"
    known = cases if cases is not None else used
    return f" over {known:.0f} {where} cases{detail}" if known is not None else detail


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    entry = mapping(value)
    return next((str(entry[key]) for key in ("name", "run", "path", "checkpoint") if entry.get(key)), "")
