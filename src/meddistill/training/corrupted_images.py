"""Corrupted images, each made once for all runs that see it, and processes that do such work in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meddistill.data.case import Case
from meddistill.data.resize import Interpolation, resize_image
from meddistill.errors import MedDistillError, RunError
from meddistill.evaluation.corruptions import Corruption, case_seed

Part = TypeVar("Part", covariant=True)


class Piece(NamedTuple):
    """Some cases under one corruption."""

    corruption: Corruption
    severity: int
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """Where images come from: a source (anything with `read_image`), and its cases by id."""

    source: Any
    cases: Mapping[str, Case]


class View(NamedTuple):
    """What a run sees: images of one place (a position in a list), at a size, or at their own with None."""

    pictures: int
    size: tuple[int, ...] | None
    interpolation: Interpolation


class CorruptedImages:
    """For each piece the images of every view, (B, C, *S).

    An image is corrupted at its own size, then resized for each view; one of 8 bits is of 8 bits afterwards,
    as if it had been saved.

    Args:
        pieces: what to make.
        pictures: where images come from.
        views: what is seen of them.
        seed: of the corruptions.
    """

    def __init__(
        self, pieces: Sequence[Piece], pictures: Sequence[Pictures], views: Sequence[View], *, seed: int
    ) -> None:
        self.pieces, self.pictures, self.views, self.seed = pieces, pictures, views, seed

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self.pieces)

    def __getitem__(self, index: int) -> list[Tensor]:
        """The images of a piece, view by view.

        Raises:
            DataError: an image cannot be read or does not suit the corruption.
        """
        shown = [self._shown(self.pieces[index], case) for case in self.pieces[index].cases]
        return [torch.stack(images) for images in zip(*shown, strict=True)]

    def _shown(self, piece: Piece, case: str) -> list[Tensor]:
        """One corrupted image as each view shows it."""
        seed = case_seed(self.seed, piece.corruption.name, case)
        whole = [
            corrupted(each.source.read_image(each.cases[case]), piece.corruption, piece.severity, seed)
            for each in self.pictures
        ]
        return [
            whole[view.pictures]
            if view.size is None
            else resize_image(whole[view.pictures], view.size, view.interpolation)
            for view in self.views
        ]


def corrupted(pixels: npt.NDArray[np.generic], corruption: Corruption, severity: int, seed: int) -> Tensor:
    """Pixels (C, *S), uint8 in 0..255 or floating point in 0..1, under a corruption; uint8 stays uint8.

    Raises:
        DataError: they do not suit it.
    """
    if pixels.dtype != np.uint8:
        return torch.from_numpy(corruption(pixels.astype(np.float32), severity, seed=seed))
    made = corruption(pixels.astype(np.float32) / np.float32(255), severity, seed=seed)
    return torch.from_numpy(np.rint(made * 255).astype(np.uint8))


class Parts(Protocol[Part]):
    """Work in parts that do not depend on each other."""

    def __len__(self) -> int:
        """Number of parts."""
        ...

    def __getitem__(self, index: int) -> Part:
        """Do one part."""
        ...


def stream(parts: Parts[Part], jobs: int) -> Iterator[Part]:
    """The parts in order, done ahead by `jobs` processes (0: by this one) and not kept.

    Each process works on one core.

    Raises:
        MedDistillError: what a part raised.
        RunError: a process died.
    """
    ready = iter(DataLoader(_Guarded(parts), batch_size=None, num_workers=jobs, collate_fn=_as_it_is))
    for _ in range(len(parts)):
        try:
            done = next(ready)
        except RuntimeError as error:
            if jobs == 0:
                raise
            reason = str(error).splitlines()[0]
            raise RunError(
                f"a process that corrupts images ended ({reason}); give the same command again, with fewer "
                "--jobs"
            ) from error
        if isinstance(done, MedDistillError):
            raise done
        yield done


class _Guarded(Dataset[Any]):
    """Parts, or the error that a user can mend: the loader would wrap it in a traceback."""

    def __init__(self, parts: Parts[Any]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.parts[index]
        except MedDistillError as error:
            return error


def default_jobs() -> int:
    """One process for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_it_is(made: Any) -> Any:
    return made
