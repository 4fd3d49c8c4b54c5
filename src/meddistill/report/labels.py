"""What the report says of the labels that a training saw, where they are not simply those of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meddistill.report.numbers import number
from meddistill.report.reading import to_number
from meddistill.report.verdict import mapping


def label_sentences(environment: Mapping[str, Any]) -> Iterator[str]:
    """A sentence each on the subset of the training split, on label noise, and on a clean-up of labels.

    Args:
        environment: the parsed `environment.json`.

    Example:
        >>> done = {"train": {"cases": 40, "changed_cases": 8, "share": 0.2}}
        >>> list(label_sentences({"label_noise": {"name": "symmetric", "unit": "labels", "splits": done}}))
        ['Label noise (symmetric): 8 of 40 train cases were given wrong labels on purpose, 20.0 % of all...']
    """
    if subset := mapping(environment.get("subset")):
        yield (
            f"The training split is subset {subset.get('index')} of {subset.get('of')} overlapping ones, "
            f"each with {_percent(subset.get('fraction'))} of its groups."
        )
    noise = mapping(environment.get("label_noise"))
    for split, facts in mapping(noise.get("splits")).items():
        done = mapping(facts)
        yield (
            f"Label noise ({noise.get('name')}): {number(done.get('changed_cases'), 0)} of "
            f"{number(done.get('cases'), 0)} {split} cases were given wrong labels on purpose, "
            f"{_percent(done.get('share'))} of all {noise.get('unit')}."
        )
    if clean := mapping(environment.get("label_clean")):
        removed, cases = number(clean.get("removed"), 0), number(clean.get("cases"), 0)
        yield (
            f"Label clean-up ({clean.get('name')}, {clean.get('folds')} folds): {removed} of {cases} "
            f"training cases were left out, their labels being probably wrong.{_found(clean)}"
        )


def _found(clean: Mapping[str, Any]) -> str:
    """How well a clean-up did, where it is known which labels are wrong."""
    if to_number(clean.get("made_wrong")) is None:
        return ""
    recall, precision = _percent(clean.get("recall")), _percent(clean.get("precision"))
    return (
        f" Of the labels that noise had made wrong it found {recall} (recall); of those that it left out "
        f"{precision} were indeed wrong (precision)."
    )


def _percent(share: Any) -> str:
    found = to_number(share)
    return number(None if found is None else 100 * found, 1) + " %"
