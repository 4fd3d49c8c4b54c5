"""The images about which a student is most wrong, with everything needed to show them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.task import Task
from meddistill.errors import RunError
from meddistill.evaluation.answers import AnswerTable
from meddistill.evaluation.gallery import Items
from meddistill.evaluation.inference import Network, device_of, predicting
from meddistill.evaluation.measured import Measured
from meddistill.files import replacing

NOTHING, UNKNOWN = "none of the labels", "unknown"


@dataclass(frozen=True, eq=False)
class AnswerGallery:
    """N images that were answered wrongly, the worst first.

    Args:
        case: (N,) ids.
        image: (N, C, H, W) uint8.
        label: (N,) true class, or the labels that hold.
        answer: (N,) what the student says.
        probability: (N,) what the student gives the truth: the probability of the true class, or of several
            labels that of the one most in error.
        teacher: (N,) what the teacher says, or None without one.
    """

    case: npt.NDArray[np.str_]
    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.str_]
    answer: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float64]
    teacher: npt.NDArray[np.str_] | None = None

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
    def load(cls, path: Path | str) -> AnswerGallery:
        """The gallery that `save` wrote.

        Raises:
            RunError: the file is missing or is no such gallery.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in arrays.files})
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"cannot read the gallery {path}: {error}") from error


def make_answer_gallery(
    teacher: Network | None, dataset: Items, table: AnswerTable, *, count: int = 12
) -> AnswerGallery:
    """The wrongly answered images whose truth the student holds for least likely.

    Args:
        teacher: images (1, C, *S) to logits (1, K), or None.
        dataset: the images of `table`, in its order.
        table: the student's answers.
        count: how many at most.
    """
    measured = Measured(table)
    wrong = np.flatnonzero(measured.correct < 1)
    chosen = wrong[np.argsort(-measured.nll[wrong], kind="stable")][:count]
    images = [dataset[int(index)]["image"][0] for index in chosen]
    shown = [(image.clamp(0, 1) * 255).round().to(torch.uint8).numpy() for image in images]
    said = None
    if teacher is not None:
        said = np.array([_asked(teacher, image, table) for image in images], np.str_)
    return AnswerGallery(
        case=table.cases[chosen],
        image=np.stack(shown) if shown else np.zeros((0, 1, 0, 0), np.uint8),
        label=np.array([in_words(table.labels[i], table.class_names) for i in chosen], np.str_),
        answer=np.array([in_words(table.predicted[i], table.class_names) for i in chosen], np.str_),
        probability=_of_truth(measured)[chosen],
        teacher=said,
    )


def in_words(label: npt.NDArray[Any] | np.integer[Any], class_names: tuple[str, ...]) -> str:
    """A class, or the labels that hold, by name.

    Example:
        >>> in_words(np.int64(1), ("healthy", "sick")), in_words(np.array([0, 0]), ("mass", "hernia"))
        ('sick', 'none of the labels')
    """
    values = np.asarray(label)
    if (values == IGNORE_INDEX).all():
        return UNKNOWN
    if values.ndim == 0:
        return class_names[int(values)]
    return ", ".join(class_names[index] for index in np.flatnonzero(values == 1)) or NOTHING


def decide(logits: torch.Tensor, task: Task) -> npt.NDArray[np.int64]:
    """The likeliest class (B,) by logits (B, K), or 1 for each label (B, K) that is likelier than not.

    Example:
        >>> decide(torch.tensor([[-1.0, 2.0]]), "multi_label"), decide(torch.ones(1, 2), "classification")
        (array([[0, 1]]), array([0]))
    """
    chosen = (logits > 0).long() if task == "multi_label" else logits.argmax(dim=1)
    answer: npt.NDArray[np.int64] = chosen.cpu().numpy()
    return answer


def _asked(teacher: Network, image: torch.Tensor, table: AnswerTable) -> str:
    with predicting(teacher):
        logits = teacher(image[None].to(device_of(teacher)))
    return in_words(decide(logits, table.task)[0], table.class_names)


def _of_truth(measured: Measured) -> npt.NDArray[np.float64]:
    """(N,) probability of the truth; of several labels the least of theirs."""
    probabilities = measured.table.probabilities
    if measured.table.task == "multi_label":
        own = np.where(measured.truth, probabilities, 1 - probabilities)
        least: npt.NDArray[np.float64] = np.where(measured.known, own, 1.0).min(axis=1)
        return least
    label = np.where(measured.table.known, measured.table.labels, 0)
    own_class: npt.NDArray[np.float64] = np.take_along_axis(probabilities, label[:, None], axis=1)[:, 0]
    return own_class
