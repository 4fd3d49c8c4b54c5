"""What the run folder, the inspector and the terminal say of labels that were made wrong on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from meddistill.data._inspect_types import Row, Table
from meddistill.data.cache import CaseCache
from meddistill.data.noise import count_changes
from meddistill.data.task import answers_images, task_of
from meddistill.evaluation.answer_gallery import in_words
from meddistill.files import csv_text, write_text
from meddistill.training.data import TaskData
from meddistill.training.run_folder import RunFolder


def describe_noise(data: TaskData) -> dict[str, Any]:
    """The kind of noise and what it really did to each split, for the run folder; without noise nothing.

    `share` is the share of wrong labels among the known, of pixels where labels are maps. Where each image
    has one class, `counts` says how often each class (row) was noted as each class (column).
    """
    if data.noise is None:
        return {}
    done = {split: _split_facts(cache) for split, cache in noisy_caches(data)}
    stated = {**data.noise.noise.describe(), "seed": data.noise.seed, "unit": _unit(data)}
    return {"label_noise": {**stated, "splits": done}}


def write_noise(folder: RunFolder, data: TaskData) -> None:
    """Write `label-noise.csv`: what was noted for each case and what is true, or how far its map was changed.

    Nothing is written without noise.

    Raises:
        RunError: the file cannot be written.
    """
    if data.noise is None:
        return
    of_images = answers_images(data.source)
    rows = []
    for split, cache in noisy_caches(data):
        known = _answers(cache) if of_images else ((f"{change.share:.6f}",) for change in cache.changes)
        rows += [[split, case.id, *values] for case, values in zip(cache.cases, known, strict=True)]
    columns = ("given", "true") if of_images else ("changed_share",)
    write_text(folder.label_noise, csv_text(["split", "case", *columns], rows))


def noise_table(data: TaskData) -> Table:
    """Stated and real noise of each split, for an inspection; the data have a noise."""
    rows: list[Row] = []
    for split, cache in noisy_caches(data):
        facts = _split_facts(cache)
        rows.append((split, facts["cases"], facts["changed_cases"], f"{facts['share']:.2%}"))
    assert data.noise is not None
    stated = ", ".join(f"{key} {value}" for key, value in data.noise.noise.describe().items())
    columns = ("split", "cases", "changed cases", f"wrong {_unit(data)}")
    return Table(f"Label noise ({stated}, seed {data.noise.seed})", columns, tuple(rows))


def noisy_caches(data: TaskData) -> Iterator[tuple[str, CaseCache]]:
    """The splits whose labels are noisy, with all their cases."""
    whole = data.whole()
    for split in data.noise.splits if data.noise is not None else ():
        yield split, whole.dataset(split).cache


def _unit(data: TaskData) -> str:
    return "labels" if answers_images(data.source) else "pixels"


def _split_facts(cache: CaseCache) -> dict[str, Any]:
    changed, known = (sum(numbers) for numbers in zip(*cache.changes, strict=True))
    facts: dict[str, Any] = {
        "cases": len(cache),
        "changed_cases": sum(change.changed > 0 for change in cache.changes),
        "share": changed / known if known else 0.0,
    }
    if task_of(cache.source) != "classification":
        return facts
    noted, true = _labels(cache)
    return {**facts, "counts": count_changes(true, noted, len(cache.source.class_names)).tolist()}


def _labels(cache: CaseCache) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What is noted for each image and what is true, (N,) or (N, L)."""
    noted = cache.labels.read(range(len(cache))).numpy()
    return noted, np.stack([cache.source.read_label(case) for case in cache.cases])


def _answers(cache: CaseCache) -> Iterator[Sequence[str]]:
    """The noted and the true label of each image in words."""
    names = tuple(cache.source.class_names)
    for noted, true in zip(*_labels(cache), strict=True):
        yield in_words(noted, names), in_words(true, names)
