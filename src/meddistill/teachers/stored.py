"""Reading a teacher store case by case, as training wants it, and the images that belong to its rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from meddistill.data.cache import CaseCache
from meddistill.data.dataset import Transform, as_float
from meddistill.data.sampler import Key
from meddistill.data.seeding import mixed_seed
from meddistill.data.task import task_of
from meddistill.data.transforms import Sample
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.encoding import EncodingName
from meddistill.teachers.layout import choose_layout
from meddistill.teachers.manifest import Manifest, Views
from meddistill.teachers.store import TeacherStore


class JointLogits:
    """Logits of the images as they are; they go through the same geometric change as their image.

    Args:
        store: without augmented views.
        cases: ids of the cases of a data set, in its order.
    """

    follow_image = True

    def __init__(self, store: TeacherStore, cases: Sequence[str]) -> None:
        self.store = store
        self._rows = rows_of(store, cases)

    def seed(self, key: Key) -> int | None:  # noqa: ARG002 - part of the protocol
        """None: any change will do."""
        return None

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, K, *S) float32 of the cases at `keys`."""
        return self.store.read([self._rows[index] for _, index in keys])


class ReplayedLogits:
    """Logits of augmented views; each epoch shows another view of a case, in turn.

    Args:
        store: with augmented views.
        cases: ids of the cases of a data set, in its order.
        seed: of the run; decides with which view each case begins.
    """

    follow_image = False

    def __init__(self, store: TeacherStore, cases: Sequence[str], *, seed: int) -> None:
        assert store.manifest.views is not None
        self.store = store
        self.views = store.manifest.views
        self._cases = tuple(cases)
        self._rows = rows_of(store, cases)
        self._seed = seed

    def seed(self, key: Key) -> int | None:
        """The seed of the view that `key` shows."""
        return view_seed(self.views, self._cases[key[1]], self.view(key))

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, K, *S) float32 of the views at `keys`."""
        return self.store.read([self._rows[key[1] * self.views.count + self.view(key)] for key in keys])

    def view(self, key: Key) -> int:
        """Number of the view: all are used equally often."""
        epoch, index = key
        return (epoch + mixed_seed(self._seed, index)) % self.views.count


class SampleLogits:
    """A few rows that stand for all cases, in turn: what reading them costs, not what they say.

    Args:
        store: with a few rows.
        follow_image: whether they go through the same geometric change as an image.
    """

    def __init__(self, store: TeacherStore, *, follow_image: bool) -> None:
        self.store = store
        self.follow_image = follow_image

    def seed(self, key: Key) -> int | None:  # noqa: ARG002 - part of the protocol
        """None: any change will do."""
        return None

    def read(self, keys: Sequence[Key]) -> Tensor:
        """Logits (B, K, *S) float32."""
        return self.store.read([index % self.store.manifest.rows for _, index in keys])


def view_seed(views: Views, case: str, view: int) -> int:
    """The seed of one augmented view, the same in every run that replays it.

    Example:
        >>> views = Views("flip", 4, 0, {})
        >>> view_seed(views, "a", 0) == view_seed(views, "a", 0) != view_seed(views, "a", 1)
        True
    """
    return mixed_seed(views.seed, zlib.crc32(case.encode()), view)


@dataclass(frozen=True)
class RowImages:
    """The images of some rows of a store, float32 in 0..1.

    Args:
        caches: the cases of the store, split after split.
        views: augmented views of each case; None for the images as they are.
        transform: makes a view.
    """

    caches: tuple[CaseCache, ...]
    views: Views | None = None
    transform: Transform | None = None

    @property
    def cases(self) -> tuple[tuple[str, str], ...]:
        """Id and hash of the image of each case."""
        return tuple(
            (case.id, cache.digest(i)) for cache in self.caches for i, case in enumerate(cache.cases)
        )

    def __call__(self, rows: Sequence[int]) -> Tensor:
        """Images (len(rows), C, *S)."""
        return torch.stack([self._image(row) for row in rows])

    def _image(self, row: int) -> Tensor:
        count = self.views.count if self.views else 1
        cache, index = self._locate(row // count)
        image, label = cache.read(index)
        if self.views is None or self.transform is None:
            return as_float(image)
        seed = view_seed(self.views, cache.cases[index].id, row % count)
        return self.transform(Sample(image=as_float(image), label=label.long()), seed)["image"]

    def _locate(self, position: int) -> tuple[CaseCache, int]:
        for cache in self.caches:
            if position < len(cache):
                return cache, position
            position -= len(cache)
        raise IndexError(position)


def manifest_for(
    teacher: BaseTeacher,
    images: RowImages,
    *,
    encoding: EncodingName = "float16",
    top_k: int | None = None,
    batch_size: int = 8,
) -> Manifest:
    """What a store of the logits of `teacher` over `images` is made from.

    Args:
        teacher: its fingerprint becomes part of the store.
        images: the cases, and their augmented views where the store is to replay them.
        encoding: `float16`, or `uint8` with a scale for each case.
        top_k: classes kept of each pixel; None keeps all of up to 16, else 8.
        batch_size: cases that the teacher sees together.

    Raises:
        ConfigError: `top_k` is below 1 or above the number of classes, or given for labels that do not
            exclude each other.
    """
    cache, prints = images.caches[0], teacher.fingerprint()
    task = task_of(cache.source)
    independent = task == "multi_label"
    choose_layout(len(cache.source.class_names), top_k, independent=independent)
    return Manifest(
        teacher=teacher.name,
        weights=prints["weights"],
        preprocessing=prints["preprocessing"],
        classes=tuple(cache.source.class_names),
        size=cache.size if task == "segmentation" else (),
        channels=cache.source.in_channels,
        interpolation=cache.interpolation,
        cases=images.cases,
        encoding=encoding,
        top_k=top_k,
        batch_size=batch_size,
        views=images.views,
        independent=independent,
    )


def rows_of(store: TeacherStore, cases: Sequence[str]) -> list[int]:
    """The rows of some cases (of all their views), which `check_same` has shown to be there."""
    first = {case: number for number, (case, _) in enumerate(store.manifest.cases)}
    count = store.manifest.views_per_case
    return [first[case] * count + view for case in cases for view in range(count)]
