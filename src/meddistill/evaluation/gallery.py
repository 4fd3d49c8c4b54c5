"""The worst, median and best cases of a split, with everything needed to draw them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.errors import DataError, RunError
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.evaluation.metrics import case_values
from meddistill.evaluation.table import ScoreTable
from meddistill.files import replacing
from meddistill.methods.base import Batch

Array = npt.NDArray[Any]
Picture = dict[str, Array]
"""Maps of one case by name, as in the fields of `Gallery`."""


class Items(Protocol):
    """A data set that gives each case as a batch of one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Batch: ...


@dataclass(frozen=True, eq=False)
class Gallery:
    """N cases, each a 2D picture or the slice of a volume with the most label.

    Args:
        case: (N,) ids.
        kind: (N,) `worst`, `median` or `best`.
        image: (N, C, H, W) uint8.
        label: (N, H, W) int16, `IGNORE_INDEX` where unknown.
        student: (N, H, W) int16 prediction.
        uncertainty: (N, H, W) uint8: entropy of the student's softmax, 255 where all classes are alike.
        dice: (N,) mean over the classes of the case.
        teacher: (N, H, W) int16 prediction, or None without a teacher.
    """

    case: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int16]
    student: npt.NDArray[np.int16]
    uncertainty: npt.NDArray[np.uint8]
    dice: npt.NDArray[np.float64]
    teacher: npt.NDArray[np.int16] | None = None

    def save(self, path: Path | str) -> None:
        """Write an npz of plain arrays, one per field; `teacher` is absent when there is none.

        Raises:
            RunError: the file cannot be written.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        present = {name: array for name, array in arrays.items() if array is not None}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **present)

    @classmethod
    def load(cls, path: Path | str) -> Gallery:
        """The gallery that `save` wrote.

        Raises:
            RunError: the file is missing or is no gallery.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"cannot read the gallery {path}: {error}") from error


def make_gallery(
    network: Network, teacher: Network | None, dataset: Items, table: ScoreTable, *, count: int = 3
) -> Gallery:
    """Pick the worst, median and best labelled cases by Dice, `count` of each, and predict them again.

    Fewer are taken, down to none, when there are too few cases to keep the three kinds apart. Volumes are
    shown by their slice along the last axis with the most foreground label.

    Args:
        network: the student, images (1, C, *S) to logits (1, K, *S).
        teacher: the same for the teacher, or None.
        dataset: where to find the cases of `table`.
        table: scores of the student.
        count: cases of each kind.

    Raises:
        DataError: a case of the table is not in the data set.
    """
    position = {case: index for index, case in enumerate(dict.fromkeys(table["case"].tolist()))}
    return gallery_of(
        table, lambda case: picture_of(network, dataset, case, position[case], teacher=teacher), count=count
    )


def picture_of(
    network: Network, dataset: Items, case: str, position: int = 0, *, teacher: Network | None = None
) -> Picture:
    """The maps of one case, predicted anew; see `drawn`.

    Args:
        network: the student, images (1, C, *S) to logits (1, K, *S).
        dataset: where to find the case.
        case: its id.
        position: where to look for it first.
        teacher: the same as `network` for the teacher, or None.

    Raises:
        DataError: the case is not in the data set.
    """
    batch = _find(dataset, case, position)
    taught = None if teacher is None else _logits(teacher, batch)
    return drawn(batch["image"][0], batch["label"][0], _logits(network, batch), taught)


def gallery_of(table: ScoreTable, picture: Callable[[str], Picture], *, count: int = 3) -> Gallery:
    """The gallery of the worst, median and best labelled cases of `table`, drawn by `picture`.

    Args:
        table: scores of the student.
        picture: from the id of a case to its maps: `image` (C, H, W), `label`, `student`, `uncertainty` and,
            with a teacher, `teacher`, each (H, W). Smaller pictures are filled up to the size of the largest.
        count: cases of each kind.
    """
    scores = case_values(table.filter(table["label_pixels"] > 0), "dice")
    chosen = pick(scores.values, count)
    pictures = [picture(str(scores.cases[index])) for index, _ in chosen]
    return Gallery(
        case=scores.cases[[index for index, _ in chosen]],
        kind=np.array([kind for _, kind in chosen], np.str_),
        dice=scores.values[[index for index, _ in chosen]],
        **_stacked(pictures),
    )


def pick(values: npt.ArrayLike, count: int) -> list[tuple[int, str]]:
    """Positions of the lowest, middle and highest values with the names of their kinds; none is taken twice.

    Example:
        >>> pick([0.5, 0.1, 0.9, 0.7, 0.6], 1)
        [(1, 'worst'), (4, 'median'), (2, 'best')]
        >>> pick([0.5, 0.1], 3)
        [(1, 'worst'), (0, 'best')]
    """
    order = np.argsort(np.asarray(values, float), kind="stable").tolist()
    size = min(count, math.ceil(len(order) / 3))
    worst, rest = order[:size], order[size:]
    best, middle = rest[-size:][::-1], rest[:-size]
    start = max(0, (len(middle) - size) // 2)
    kinds = {"worst": worst, "median": middle[start : start + size], "best": best}
    return [(index, kind) for kind, indices in kinds.items() for index in indices]


def _find(dataset: Items, case: str, guess: int) -> Batch:
    """The batch of `case` alone, looked for first where the table's order would have it."""
    for index in (guess, *range(len(dataset))):
        if index < len(dataset) and (item := dataset[index])["case_id"] == [case]:
            return item
    raise DataError(f"case {case} of the score table is not in the data set")


def drawn(image: Tensor, label: Tensor, logits: Tensor, taught: Tensor | None = None) -> Picture:
    """The maps of one case from its image (C, *S) in 0..1, label (*S) and logits (K, *S).

    Of a volume they are those of the slice along the last axis with the most foreground label.

    Example:
        >>> picture = drawn(torch.ones(1, 1, 2), torch.tensor([[0, 1]]), torch.zeros(2, 1, 2))
        >>> picture["image"].tolist(), picture["label"].tolist(), picture["uncertainty"].tolist()
        ([[[255, 255]]], [[0, 1]], [[255, 255]])
    """
    entropy = -(logits.softmax(dim=0) * logits.log_softmax(dim=0)).sum(dim=0) / math.log(len(logits))
    maps = {
        "image": _bytes(image),
        "label": label.to(torch.int16),
        "student": logits.argmax(dim=0).to(torch.int16),
        "uncertainty": _bytes(entropy),
    }
    if taught is not None:
        maps["teacher"] = taught.argmax(dim=0).to(torch.int16)
    if maps["label"].ndim == 3:
        slices = (maps["label"] > 0).sum(dim=(0, 1))
        maps = {name: values[..., int(slices.argmax())] for name, values in maps.items()}
    return {name: values.cpu().numpy() for name, values in maps.items()}


def _logits(network: Network, batch: Batch) -> Tensor:
    with predicting(network):
        return network(batch["image"].to(device_of(network)))[0].float()


def _bytes(values: Tensor) -> Tensor:
    """Numbers in 0..1 as uint8."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _stacked(pictures: list[Picture]) -> Picture:
    if not pictures:
        maps = {"label": np.int16, "student": np.int16, "uncertainty": np.uint8}
        empty: dict[str, Array] = {name: np.zeros((0, 0, 0), kind) for name, kind in maps.items()}
        return empty | {"image": np.zeros((0, 0, 0, 0), np.uint8)}
    largest = np.max([picture["label"].shape for picture in pictures], axis=0)
    return {
        name: np.stack([_filled_up(picture[name], largest) for picture in pictures]) for name in pictures[0]
    }


def _filled_up(values: Array, size: Array) -> Array:
    """`values` (..., H, W) with zeros below and to the right, up to `size`."""
    more = [(0, 0)] * (values.ndim - 2)
    more += [(0, int(wanted - there)) for wanted, there in zip(size, values.shape[-2:], strict=True)]
    return np.pad(values, more) if any(after for _, after in more) else values
