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
        """What a data set of `cases` reads during training."""
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


def store_for(recipe: Recipe, data: TaskData, teacher: BaseTeacher, stores: Path) -> Stored | None:
    """The complete store that a training reads; None when the teacher is asked live.

    A store that is not there is made, one that was left unfinished is completed, and one that another process
    is writing is waited for.

    Args:
        recipe: its `teacher` section says how and, with `store`, where.
        data: the training split is stored.
        teacher: on the device where it computes.
        stores: folder below which stores are kept by key when the recipe names none.

    Raises:
        TeacherError: the store was made from something else or is damaged, or logits are not finite.
        RunError: it cannot be written.
        ConfigError: views are to be replayed without augmentation.
    """
    config = recipe.teacher
    if config.mode == "live":
        return None
    manifest, images = describe_store(recipe, data, teacher)
    folder = Path(config.store) if config.store else stores / manifest.key
    there = TeacherStore.open(folder) if (folder / MANIFEST).is_file() else None
    if there is not None:
        check_same(there.manifest, manifest, folder)
    if there is not None and there.complete:
        there.verify()
        done = Annotation(0, there.manifest.rows, 0.0, 0.0)
    else:
        done = annotate(as_network(teacher), images, manifest, folder, wait=True)
    return complete_store(recipe, teacher, folder, images, done)


def sample_logits(
    recipe: Recipe, data: TaskData, teacher: BaseTeacher, batches: Sequence[Tensor]
) -> TeacherLogits:
    """A temporary store of a few logits in which every case finds a row, to time reading from it."""
    manifest, _ = describe_store(recipe, data, teacher)
    logits = torch.cat(list(batches))
    few = replace(manifest, cases=manifest.cases[: len(logits)], views=None)
    store = TeacherStore.temporary(few)
    store.write(0, logits)
    return SampleLogits(store, follow_image=recipe.teacher.mode == "joint")


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
    """The teacher for images on the CPU."""

    def logits(image: Tensor) -> Tensor:
        found: Tensor = teacher(image.to(teacher.device))
        return found

    return logits
