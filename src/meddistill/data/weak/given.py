"""Weak labels that are not drawn: those of files, and none at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.resize import resize_weak
from meddistill.data.weak.base import Map, WeakLabel, check_whole
from meddistill.errors import ConfigError, DataError


@runtime_checkable
class WeakSource(Protocol):
    """A source whose cases may have files with weak labels."""

    def read_weak(self, case: Case) -> npt.NDArray[np.integer[Any]]:
        """The weak label (*S) at the original size: class numbers, and what stands for unlabelled pixels.

        All `IGNORE_INDEX` for a case without a weak label.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class WeakFile(WeakLabel):
    """The weak label that the source has a file for, real scribbles for example.

    When it is made smaller no label is lost: a pixel of the new size takes the class that most labelled
    pixels under it have, whatever the unlabelled ones are.

    Args:
        unlabelled: the value of unlabelled pixels in the files, besides `IGNORE_INDEX`.

    Raises:
        ConfigError: the value is no whole number.
    """

    unlabelled: int | None = None

    def __post_init__(self) -> None:
        if self.unlabelled is not None:
            check_whole("unlabelled", self.unlabelled, least=IGNORE_INDEX)

    def of_case(
        self,
        source: Source,
        case: Case,
        label: Map,
        *,
        original: tuple[int, ...],
        seed: int,  # noqa: ARG002 - no chance
    ) -> Map:
        """The weak label of the file of `case`; all ignored when it has none.

        Raises:
            DataError: the file cannot be read, has another size than the image, or an unknown value.
            ConfigError: the source reads no weak labels.
        """
        if not isinstance(source, WeakSource):
            raise ConfigError(
                "weak label: kind file needs a source with files of weak labels, for example a manifest with "
                "a column weak; choose another kind"
            )
        values = source.read_weak(case).astype(np.int32)
        if self.unlabelled is not None:
            values[values == self.unlabelled] = IGNORE_INDEX
        _check(case, values, original, len(source.class_names))
        return resize_weak(torch.from_numpy(values.astype(np.int16)), label.shape).numpy()


def _check(case: Case, values: npt.NDArray[np.int32], original: tuple[int, ...], classes: int) -> None:
    where = case.weak or case.id
    if values.shape != original:
        raise DataError(
            f"{where}: the weak label is {values.shape}, but the image {original}; resample the label"
        )
    wrong = np.setdiff1d(values, [IGNORE_INDEX, *range(classes)])
    if len(wrong):
        raise DataError(
            f"{where}: weak label value {wrong[0]} is outside 0..{classes - 1}; if it means unlabelled, set "
            f"data.supervision.weak.unlabelled to {wrong[0]}"
        )


@dataclass(frozen=True, kw_only=True)
class NoWeakLabel(WeakLabel):
    """No pixel is labelled: semi-supervised learning.

    Example:
        >>> label = np.zeros((1, 2), dtype=np.int16)
        >>> NoWeakLabel().of_case(None, Case("a"), label, original=(1, 2), seed=0)
        array([[-100, -100]], dtype=int16)
    """

    def of_case(
        self,
        source: Source,  # noqa: ARG002
        case: Case,  # noqa: ARG002
        label: Map,
        *,
        original: tuple[int, ...],  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> Map:
        """All ignored."""
        return np.full(label.shape, IGNORE_INDEX, dtype=np.int16)
