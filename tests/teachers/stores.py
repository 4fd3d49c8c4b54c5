"""Small stores for tests: a teacher that can be computed by hand, and the manifest of what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from meddistill.teachers.annotate import Annotation, Shard, annotate
from meddistill.teachers.manifest import Manifest
from meddistill.teachers.store import TeacherStore

SIZE = (6, 5)


def manifest(**changes: object) -> Manifest:
    """A manifest of 10 cases and 2 classes; `cases` and `classes` may also be given as numbers."""
    cases, classes = changes.get("cases", 10), changes.get("classes", 2)
    plain = Manifest(
        teacher="tutor",
        weights="w" * 64,
        preprocessing="p" * 64,
        classes=_classes(classes),
        size=SIZE,
        channels=1,
        interpolation="area",
        cases=_cases(cases),
        batch_size=4,
    )
    return replace(
        plain, **{name: value for name, value in changes.items() if name not in ("cases", "classes")}
    )


def _classes(given: object) -> tuple[str, ...]:
    return tuple(f"class {k}" for k in range(given)) if isinstance(given, int) else given


def _cases(given: object) -> tuple[tuple[str, str], ...]:
    return tuple((f"case {n}", f"{n:064x}") for n in range(given)) if isinstance(given, int) else given


def image(row: int) -> Tensor:
    return torch.rand((1, *SIZE), generator=torch.Generator().manual_seed(row))


def images(rows: Sequence[int]) -> Tensor:
    return torch.stack([image(row) for row in rows])


class Tutor:
    """Answers with K multiples of the image, and counts the rows it saw."""

    def __init__(self, classes: int = 2, scale: float = 8.0) -> None:
        self.slopes = torch.linspace(-scale, scale, classes)
        self.seen = 0

    def __call__(self, batch: Tensor) -> Tensor:
        self.seen += len(batch)
        return (batch - 0.5) * self.slopes.view(1, -1, *[1] * (batch.ndim - 2))


def write(folder: Path, described: Manifest | None = None, **options: object) -> Annotation:
    described = described or manifest()
    return annotate(Tutor(len(described.classes)), images, described, folder, **options)


def stored(folder: Path, described: Manifest | None = None, **options: object) -> TeacherStore:
    write(folder, described, **options)
    return TeacherStore.open(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


__all__ = ["SIZE", "Shard", "Tutor", "content", "image", "images", "manifest", "stored", "write"]
