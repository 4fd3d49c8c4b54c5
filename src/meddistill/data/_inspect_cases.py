"""Reading every case of a source once and keeping the few facts that the checks need."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data._glance import Glance, glance
from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.duplicates import Fingerprint, fingerprint
from meddistill.data.task import Task, answers_images, task_of
from meddistill.errors import MedDistillError
from meddistill.progress import progress

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ImageFacts:
    """An image in short.

    Args:
        shape: its shape, channels first.
        constant: every pixel has the same value.
        in_range: all values are finite and, for floating point, within 0..1.
        prints: its fingerprint; None when its values or its shape forbid one.
        glance: what the check for shortcuts sees; None where labels are maps or `prints` is None.
    """

    shape: tuple[int, ...]
    constant: bool
    in_range: bool
    prints: Fingerprint | None
    glance: Glance | None = None


@dataclass(frozen=True)
class LabelFacts:
    """A label in short.

    Args:
        size: spatial size of the map; empty for a label of the whole image.
        counts: number of pixels by value, `IGNORE_INDEX` included. Of several labels of a whole image those
            that hold, with a 1 each, or `IGNORE_INDEX` where none of them is known.
        digest: hash of the label.
        slices: of a volume, how many slices it has across its first axis, and how many of them hold no
            foreground.
    """

    size: tuple[int, ...]
    counts: dict[int, int]
    digest: str
    slices: tuple[int, int] = (0, 0)

    @property
    def known(self) -> bool:
        """At least one pixel has a label."""
        return self.counts.keys() != {IGNORE_INDEX}

    @property
    def empty(self) -> bool:
        """Known, and every labelled pixel is background; never so for a label of the whole image."""
        return bool(self.size) and self.known and set(self.counts) <= {0, IGNORE_INDEX}


@dataclass(frozen=True)
class CaseFacts:
    """What was seen of one case; `problems` says in one line each why an image or a label is None."""

    case: Case
    image: ImageFacts | None
    label: LabelFacts | None
    problems: tuple[str, ...]


def examine_source(source: Source) -> list[CaseFacts]:
    """The facts of every case, in the order of `source.cases`, read by as many threads as there are cores."""
    with (
        progress("reading cases", len(source.cases)) as advance,
        ThreadPoolExecutor(max_workers=max(2, min(os.cpu_count() or 2, 16))) as pool,
    ):

        def examine(case: Case) -> CaseFacts:
            facts = examine_case(source, case)
            advance(1)
            return facts

        futures = [pool.submit(examine, case) for case in source.cases]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def examine_case(source: Source, case: Case) -> CaseFacts:
    """Read one case; whatever goes wrong becomes a line in `problems`.

    Example:
        >>> from meddistill.data.phantom import PhantomSource
        >>> source = PhantomSource(1, size=(32, 40), normal_fraction=0)
        >>> facts = examine_case(source, source.cases[0])
        >>> facts.image.shape, facts.label.size, sorted(facts.label.counts), facts.problems
        ((1, 32, 40), (32, 40), [0, 1], ())
    """
    image, image_problem = _attempt(source.read_image, case)
    label, label_problem = _attempt(source.read_label, case)
    return CaseFacts(
        case,
        image=None if image is None else _image_facts(image, case, source),
        label=None if label is None else _label_facts(label, task_of(source)),
        problems=tuple(dict.fromkeys(line for line in (image_problem, label_problem) if line)),
    )


def _attempt(read: Callable[[Case], Array], case: Case) -> tuple[Array | None, str]:
    try:
        array = read(case)
    except MedDistillError as error:
        return None, str(error)
    except Exception as error:  # a broken file may raise anything, and must not end the inspection
        reason = " ".join(str(error).split()) or "no reason given"
        return None, f"{case.image or case.id}: {type(error).__name__}: {reason}"
    return (array, "") if array.size else (None, f"{case.image or case.id}: has no pixels")


def _image_facts(image: Array, case: Case, source: Source) -> ImageFacts:
    low, high = float(image.min()), float(image.max())
    finite = bool(np.isfinite(low) and np.isfinite(high))
    usual = finite and image.ndim == source.dims + 1
    return ImageFacts(
        shape=image.shape,
        constant=low == high,
        in_range=finite and (image.dtype.kind != "f" or (low >= 0.0 and high <= 1.0)),
        prints=fingerprint(image) if usual else None,
        glance=glance(image, case.image) if usual and answers_images(source) else None,
    )


def _label_facts(label: Array, task: Task) -> LabelFacts:
    if task == "multi_label":
        known = {int(index): 1 for index in np.flatnonzero(label == 1)}
        counts = {IGNORE_INDEX: 1} if bool((label == IGNORE_INDEX).all()) else known
        return LabelFacts((), counts, _digest(label))
    values, numbers = np.unique(label, return_counts=True)
    return LabelFacts(
        size=label.shape,
        counts={int(value): int(number) for value, number in zip(values, numbers, strict=True)},
        digest=_digest(label),
        slices=(len(label), int((label <= 0).all(axis=(1, 2)).sum())) if label.ndim == 3 else (0, 0),
    )


def _digest(label: Array) -> str:
    return hashlib.sha256(f"{label.shape}".encode() + label.tobytes()).hexdigest()
