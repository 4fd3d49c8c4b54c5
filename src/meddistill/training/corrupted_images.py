"""Corrupted images, made by worker processes: each once, whatever the number of runs that see it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from meddistill.data.case import Case
from meddistill.data.resize import Interpolation, resize_image
from meddistill.errors import MedDistillError, RunError
from meddistill.evaluation.corruptions import Corruption, case_seed


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


class CorruptedImages(Dataset[Any]):
    """For each piece the images of every view, (B, C, *S); or the error that a user can mend.

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

    def __getitem__(self, index: int) -> list[Tensor] | MedDistillError:
        """The images of a piece, view by view."""
        try:
            shown = [self._shown(self.pieces[index], case) for case in self.pieces[index].cases]
        except MedDistillError as error:  # the loader would wrap it in a traceback
            return error
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


def stream(images: CorruptedImages, jobs: int) -> Iterator[list[Tensor]]:
    """The images of each piece in order, made ahead by `jobs` processes (0: by this one) and not kept.

    Raises:
        MedDistillError: an image cannot be read or does not suit the corruption.
        RunError: a process died.
    """
    ready = iter(DataLoader(images, batch_size=None, num_workers=jobs, collate_fn=_as_it_is))
    for _ in range(len(images)):
        try:
            made = next(ready)
        except RuntimeError as error:
            if jobs == 0:
                raise
            reason = str(error).splitlines()[0]
            raise RunError(
                f"a process that corrupts images ended ({reason}); give the same command again, with fewer "
                "--jobs"
            ) from error
        if isinstance(made, MedDistillError):
            raise made
        yield made


def default_jobs() -> int:
    """One process for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_it_is(made: Any) -> Any:
    return made
