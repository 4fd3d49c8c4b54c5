"""The teacher store of a recipe: found, made or completed before training, and read during it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meddistill.config import Recipe
from meddistill.data import make_transform
from meddistill.data.case import SPLITS
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.errors import ConfigError, DataError, unknown_name
from meddistill.teachers.annotate import Annotation, Network, annotate
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.manifest import Manifest, Views, check_same
from meddistill.teachers.store import MANIFEST, TeacherStore
from meddistill.teachers.store_error import Difference, advice, compare_with_live, differences_table
from meddistill.teachers.stored import (
    JointLogits,
    ReplayedLogits,
    RowImages,
    SampleLogits,
    manifest_for,
    rows_of,
)
from meddistill.teachers.stored_members import StackedLogits
from meddistill.training.data import TaskData

_VIEW_SEED = 0


@dataclass(frozen=True)
class Stored:
    """A complete store, what was done to get it, and how far it is from the live teacher."""

    store: TeacherStore
    annotation: Annotation
    differences: Sequence[Difference]

    def to_json(self) -> dict[str, Any]:
        """Plain values for the run folder."""
        manifest = self.store.manifest
        return {
            "mode": "joint" if manifest.views is None else "replay",
            "folder": str(self.store.folder),
            "key": manifest.key,
            "encoding": manifest.encoding,
            "rows": manifest.rows,
            "bytes": self.store.nbytes,
            "annotation": str(self.annotation),
            "differences": [difference.to_json() for difference in self.differences],
        }

    def __str__(self) -> str:
        """What was done, the size and the differences, for a terminal."""
        table = differences_table(self.differences, size=self.store.nbytes, rows=self.store.manifest.rows)
        lines = [f"teacher store {self.store.folder}: {self.annotation}", table, advice(self.differences)]
        return "\n".join(line for line in lines if line)

    def logits(self, cases: Sequence[str], *, seed: int) -> TeacherLogits:
        """What a data set of `cases` reads during training: logits (B, K, *S)."""
        if self.store.manifest.views is None:
            return JointLogits(self.store, cases)
        return ReplayedLogits(self.store, cases, seed=seed)

    def of_images(self, cases: Sequence[str]) -> TeacherLogits | None:
        """Logits of the images as they are, where the store has them."""
        return JointLogits(self.store, cases) if self.store.manifest.views is None else None


def describe_store(
    recipe: Recipe, data: TaskData, teacher: BaseTeacher, splits: Sequence[str] = ("train",)
) -> tuple[Manifest, RowImages]:
    """What a store of the recipe's teacher over some splits is made from, and its images.

    Raises:
        ConfigError: views to be replayed without augmentation, an unknown split, or an impossible `top_k`.
        DataError: none of the splits has cases, or a file cannot be read.
    """
    config = recipe.teacher
    views = transform = None
    if config.mode == "replay":
        transform = make_transform(recipe.data.augment, dims=data.source.dims)
        if transform is None:
            raise ConfigError(
                "teacher.mode replay shows augmented views, but data.augment is none; "
                "choose an augmentation, or --teacher.mode joint"
            )
        versions = {name: metadata.version(name) for name in ("torch", "monai")}
        views = Views(recipe.data.augment, config.views, _VIEW_SEED, versions)
    for split in splits:
        if split not in SPLITS:
            raise ConfigError(unknown_name("split", split, SPLITS))
    filled = [split for split in splits if data.split.cases.get(split)]
    if not filled:
        raise DataError(f"there are no cases in {' or '.join(splits)}; set data.splits")
    images = RowImages(tuple(data.dataset(split).cache for split in filled), views, transform)
    batch_size = recipe.training.batch_size
    manifest = manifest_for(
        teacher, images, encoding=config.encoding, top_k=config.top_k, batch_size=batch_size
    )
    return manifest, images


def store_for(
    recipe: Recipe,
    data: TaskData,
    teacher: BaseTeacher,
    stores: Path,
    *,
    splits: Sequence[str] = ("train",),
) -> Stored | None:
    """The complete store that a training reads; None when the teacher is asked live.

    A store that is not there is made, one that was left unfinished is completed, and one that another process
    is writing is waited for.

    Args:
        recipe: its `teacher` section says how and, with `store`, where.
        data: what is stored.
        teacher: on the device where it computes.
        stores: folder below which stores are kept by key when the recipe names none.
        splits: the splits that are stored.

    Raises:
        TeacherError: the store was made from something else or is damaged, or logits are not finite.
        RunError: it cannot be written.
        ConfigError: views are to be replayed without augmentation.
    """
    if recipe.teacher.mode == "live":
        return None
    store = recipe.teacher.store
    described = describe_store(recipe, data, teacher, splits)
    return fill_store(recipe, teacher, described, Path(store) if store else stores / described[0].key)


def fill_store(
    recipe: Recipe, teacher: BaseTeacher, described: tuple[Manifest, RowImages], folder: Path
) -> Stored:
    """The complete store in `folder`; what is missing is made.

    Raises:
        TeacherError: the store was made from something else or is damaged, or logits are not finite.
        RunError: it cannot be written.
    """
    manifest, images = described
    there = TeacherStore.open(folder) if (folder / MANIFEST).is_file() else None
    if there is not None:
        check_same(there.manifest, manifest, folder)
    if there is not None and there.complete:
        there.verify()
        done = Annotation(0, there.manifest.rows, 0.0, 0.0)
    else:
        done = annotate(as_network(teacher), images, manifest, folder, wait=True)
    stored = complete_store(recipe, teacher, folder, images, done)
    assert stored is not None
    return stored


def sample_logits(
    recipe: Recipe, data: TaskData, teacher: BaseTeacher, batches: Sequence[Tensor]
) -> TeacherLogits:
    """A temporary store of a few logits in which every case finds a row, to time reading from it.

    Logits of members (B, M, K, *S) get a store for each.
    """
    manifest, _ = describe_store(recipe, data, teacher)
    logits = torch.cat(list(batches))
    few = replace(manifest, cases=manifest.cases[: len(logits)], views=None)
    follow_image = recipe.teacher.mode == "joint"
    if logits.ndim - 2 - len(manifest.size) == 0:
        return _sample(few, logits, follow_image=follow_image)
    parts = [_sample(few, part, follow_image=follow_image) for part in logits.unbind(1)]
    return StackedLogits(parts, [member.known for member in teacher.teachers])


def _sample(manifest: Manifest, logits: Tensor, *, follow_image: bool) -> SampleLogits:
    store = TeacherStore.temporary(manifest)
    store.write(0, logits)
    return SampleLogits(store, follow_image=follow_image)


def complete_store(
    recipe: Recipe, teacher: BaseTeacher, folder: Path, images: RowImages, done: Annotation
) -> Stored | None:
    """A store after some of it was written, compared with its teacher; None while rows are missing."""
    store = TeacherStore.open(folder)
    if not store.complete:
        return None
    rows = rows_of(store, [case for case, _ in images.cases])
    differences = compare_with_live(store, as_network(teacher), images, rows, augment=recipe.data.augment)
    return Stored(store, done, differences)


def as_network(teacher: BaseTeacher) -> Network:
    """The teacher for images on the CPU; a class that it does not know is as unlikely as the least likely."""

    def logits(image: Tensor) -> Tensor:
        found: Tensor = teacher(image.to(teacher.device))
        return found if all(teacher.known) else _finite(found, teacher.known)

    return logits


def _finite(logits: Tensor, known: Sequence[bool]) -> Tensor:
    """Logits (B, K, *S) with a number in the place of minus infinity, so that they can be stored."""
    there = torch.tensor(known, device=logits.device)
    lowest = logits[:, there].amin(dim=1, keepdim=True)
    return torch.where(there.view(1, -1, *(1,) * (logits.ndim - 2)), logits, lowest)
