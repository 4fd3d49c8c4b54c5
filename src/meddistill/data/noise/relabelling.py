"""Noise brought to the cases of a source: what each label becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.noise.base import ClassNoise, MaskNoise
from meddistill.data.resize import resize_image
from meddistill.data.task import task_of
from meddistill.errors import ConfigError

FEATURE_SIZE = 8
"""Pixels along each axis of the image that stands for a case where noise depends on its looks."""


class Relabelling(Protocol):
    """What gives cases other labels than their own."""

    def label(self, case: Case, label: Tensor) -> Tensor:
        """The label that is noted for `case`, whose true one is `label`; of the same shape and type."""
        ...


class Changes(NamedTuple):
    """How many labels (of pixels, or of the image) are not the true ones, and how many are known."""

    changed: int
    known: int

    @property
    def share(self) -> float:
        """Changed ones among the known, 0..1; 0 where none is known."""
        return self.changed / self.known if self.known else 0.0


@dataclass(frozen=True)
class NoisyMaps:
    """Label maps as somebody may have drawn them wrongly.

    Args:
        noise: how.
        seed: with the id of a case decides what becomes of its map.
    """

    noise: MaskNoise
    seed: int

    def label(self, case: Case, label: Tensor) -> Tensor:
        """The noisy map (*S) of the type of `label`."""
        return torch.from_numpy(self.noise.apply(label.numpy(), seed=self.seed, case_id=case.id))


@dataclass(frozen=True)
class NoisyAnswers:
    """Labels of whole images as somebody may have noted them wrongly.

    Args:
        labels: what is noted for each case by its id, () or (L,).
    """

    labels: Mapping[str, npt.NDArray[np.int16]]

    def label(self, case: Case, label: Tensor) -> Tensor:  # noqa: ARG002 - drawn beforehand, for all cases
        """The noisy label, () or (L,) int16."""
        return torch.from_numpy(self.labels[case.id])


def noisy_answers(noise: ClassNoise, source: Source, cases: Sequence[Case], *, seed: int) -> NoisyAnswers:
    """Draw the noisy label of each case.

    Of labels that do not exclude each other each is a question of its own with the classes 0 and 1, and the
    name of the label goes into the draw. Noise that depends on features gets the image, averaged to
    `FEATURE_SIZE` pixels along each axis, of every case in `cases`.

    Args:
        noise: how labels become wrong.
        source: has the labels, and the images where the noise depends on them.
        cases: those to draw for; without features the others do not matter.
        seed: with the id of a case decides its label.

    Raises:
        ConfigError: the noise does not fit the number of classes.
        DataError: an image cannot be read.

    Example:
        >>> from types import SimpleNamespace
        >>> from meddistill.data.noise import create_noise
        >>> source = SimpleNamespace(
        ...     task="classification", class_names=("a", "b"), read_label=lambda case: np.array(0, np.int16))
        >>> cases = [Case("1"), Case("2")]
        >>> noisy_answers(create_noise("symmetric", rate=1.0), source, cases, seed=0).labels["1"]
        array(1, dtype=int16)
    """
    labels = np.stack([source.read_label(case) for case in cases])
    ids, num_classes = [case.id for case in cases], len(source.class_names)
    if task_of(source) == "multi_label":
        check_questions(noise)
        names = [f"{case}\0{name}" for case in ids for name in source.class_names]
        noisy = noise.apply(labels.reshape(-1), seed=seed, ids=names, num_classes=2).reshape(labels.shape)
    else:
        features = _looks(source, cases) if noise.needs_features else None
        noisy = noise.apply(labels, seed=seed, ids=ids, num_classes=num_classes, features=features)
    return NoisyAnswers({case: np.asarray(label) for case, label in zip(ids, noisy, strict=True)})


def check_questions(noise: ClassNoise) -> None:
    """Refuse noise that means nothing for a question of yes or no.

    Raises:
        ConfigError: it chooses among several other classes.
    """
    if noise.among_others:
        raise ConfigError(
            f"data.noise.name: {noise.name} chooses among several classes, but these labels do not exclude "
            "each other; give symmetric, or class_conditional with a matrix of 2 rows (absent, present)"
        )


def count_label(true: Tensor, noted: Tensor) -> Changes:
    """How far a noted label is from the true one.

    Example:
        >>> count_label(torch.tensor([0, 1, -100]), torch.tensor([1, 1, -100]))
        Changes(changed=1, known=2)
    """
    return Changes(int((true != noted).sum()), int((true != IGNORE_INDEX).sum()))


def _looks(source: Source, cases: Sequence[Case]) -> npt.NDArray[np.float32]:
    """The image of each case averaged to a few pixels, (N, C, ...) in 0..255 or 0..1."""
    size = (FEATURE_SIZE,) * source.dims

    def small(case: Case) -> npt.NDArray[Any]:
        image = torch.from_numpy(source.read_image(case)).float()
        shrunk: npt.NDArray[Any] = resize_image(image, size, "area").numpy()
        return shrunk

    return np.stack([small(case) for case in cases])
