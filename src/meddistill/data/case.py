"""What every data source hands on: cases, and how to read one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = -100
"""Label value of pixels that no loss and no metric counts."""

SPLITS = ("train", "selection", "calibration", "test")
"""`train` teaches, `selection` chooses the checkpoint, `calibration` fits temperatures, `test` is scored
once."""


@dataclass(frozen=True)
class Case:
    """One image or volume with what is known about it.

    Args:
        id: unique name within the source, with forward slashes, for example `benign/benign (1)`.
        image: file of the image, or None for a generated case.
        labels: label files to be merged into one map; empty for an unlabelled case.
        group: what must not be divided between splits, usually the patient; the id when nothing is known.
        stratum: what splits are balanced by, for example the diagnosis.
        split: the split the source itself assigns, or None.
        weak: file of a weak label, or None.
    """

    id: str
    image: Path | None = None
    labels: tuple[Path, ...] = ()
    group: str = ""
    stratum: str = ""
    split: str | None = None
    weak: Path | None = None


@runtime_checkable
class Source(Protocol):
    """A set of cases and the way to read them. Readers raise `DataError` with the file's name."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases, in a fixed order."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label value; index 0 is the background."""
        ...

    @property
    def in_channels(self) -> int:
        """Number of image channels that `read_image` returns."""
        ...

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        ...

    def read_image(self, case: Case) -> npt.NDArray[np.generic]:
        """The image as (C, *S), uint8 in 0..255 or float32 in 0..1, at its original size."""
        ...

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The label map as (*S) with values 0..K-1 or `IGNORE_INDEX`, at its original size."""
        ...


def is_labelled(source: Source) -> bool:
    """Whether a source has labels at all; one without says so by an attribute `labelled` of False.

    Single cases of a labelled source may be unlabelled all the same.

    Example:
        >>> from meddistill.data.phantom import PhantomSource
        >>> is_labelled(PhantomSource(1, size=(32, 32)))
        True
    """
    return bool(getattr(source, "labelled", True))


@dataclass(frozen=True)
class Split:
    """Cases by split name, and where each came from.

    Args:
        cases: for each name in `SPLITS` its cases; a split may be empty.
        note: one line that says how the split was made, for the run folder and the report.
        subset: where `train` is one of overlapping subsets, which one, and the sizes and overlaps of all.
    """

    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    note: str = ""
    subset: Mapping[str, Any] = field(default_factory=dict)
