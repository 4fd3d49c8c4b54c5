"""What the report says of the teacher's stored logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meddistill.report.numbers import number
from meddistill.report.reading import to_number
from meddistill.report.verdict import mapping

_MODES = {
    "joint": "computed once per case, changed along with the image",
    "replay": "computed once per augmented view",
}


def stored_pairs(stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Mode, size, and how far the stored probabilities are from the live teacher's, as (name, text).

    Example:
        >>> found = {"change": "flip", "largest": 0.5, "mean": 0.01, "cases": 8}
        >>> list(stored_pairs({"mode": "joint", "differences": [found]}))[1]
        ('flip', '|dp| at most 0.5000, 0.0100 on average (8 cases)')
        >>> list(stored_pairs({"mode": "joint", "members": {"a": {"differences": [found]}}}))[1][0]
        'a, flip'
    """
    if not stored:
        return
    mode = str(stored.get("mode"))
    yield "mode", f"{mode}: {_MODES[mode]}" if mode in _MODES else mode
    size, rows = to_number(stored.get("bytes")), to_number(stored.get("rows"))
    if size is not None and rows:
        yield "store", f"{rows:.0f} rows, {number(size / 2**20, 1)} MB as {stored.get('encoding')}"
    for name, part in mapping(stored.get("members")).items():
        for words, text in _differences(mapping(part)):
            yield f"{name}, {words}", text
    yield from _differences(stored)


def _differences(stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for found in stored.get("differences") or ():
        largest, mean, cases = (to_number(found.get(key)) for key in ("largest", "mean", "cases"))
        name = "no change of the image" if found.get("change") == "none" else str(found.get("change"))
        if largest is not None and mean is not None and cases is not None:
            yield name, f"|dp| at most {largest:.4f}, {mean:.4f} on average ({cases:.0f} cases)"
