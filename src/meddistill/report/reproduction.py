"""What it takes to make a study again: versions, seeds, data and machine, as its runs recorded them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meddistill.report.comparison_tables import ComparedRun
from meddistill.report.tables import settings
from meddistill.training.run_folder import RunFolder, read_json

_FACTS = {
    "data_fingerprint": "Data fingerprint",
    "split_note": "Splits",
    "split_counts": "Cases",
    "python": "Python",
    "platform": "Platform",
    "processor": "Processor",
    "cores": "Cores",
    "accelerator": "Accelerator",
}
"""Entries of `environment.json`, in the order of the page, beside the versions."""


def reproduction(runs: Sequence[ComparedRun]) -> list[tuple[str, str]]:
    """(name, text) pairs; what differs between runs has each text with the runs that it is of.

    A run without `environment.json` says nothing.
    """
    if not runs:
        return []
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    known = {f"{run.row}-s{run.seed}": _environment(run) for run in runs}
    names = dict.fromkeys(name for facts in known.values() for name in facts)
    return [("Seeds", seeds), *((name, _joined(name, known)) for name in names)]


def _environment(run: ComparedRun) -> dict[str, str]:
    file = RunFolder(run.folder).environment
    if not file.is_file():
        return {}
    found = read_json(file)
    facts = {title: _text(found[key]) for key, title in _FACTS.items() if found.get(key) is not None}
    return facts | dict(settings(found.get("versions") or {}))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return str(value)


def _joined(name: str, known: Mapping[str, Mapping[str, str]]) -> str:
    """The text of all runs, or each text with the first runs that have it and how many more there are."""
    by_text: dict[str, list[str]] = {}
    for run, facts in known.items():
        if name in facts:
            by_text.setdefault(facts[name], []).append(run)
    if len(by_text) == 1:
        return next(iter(by_text))
    return "; ".join(f"{text} ({_some(runs)})" for text, runs in by_text.items())


def _some(runs: Sequence[str]) -> str:
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return ", ".join(runs[:3]) + more
