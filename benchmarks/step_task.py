"""The work that every loop of the step and epoch benchmarks does: images, networks and methods, made once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from meddistill.data import CaseCache, CaseDataset, make_loader, make_transform
from meddistill.data.dataset import as_float
from meddistill.data.phantom import MIN_SIDE, PhantomSource
from meddistill.data.sampler import EpochSampler
from meddistill.data.seeding import mixed_seed
from meddistill.data.transforms import JointTransform, Sample
from meddistill.methods import Context, Distillation, PacedDistillation, Supervised
from meddistill.models import ModelSpec
from meddistill.teachers import Teacher
from meddistill.teachers.store import TeacherStore
from meddistill.teachers.stored import JointLogits, RowImages, manifest_for


@dataclass(frozen=True)
class Network:
    """A name of `create_model` and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, dims: int) -> ModelSpec:
        """As `create_model` wants it: grey images, background and lesion."""
        return ModelSpec(self.name, in_channels=1, num_classes=2, dims=dims, options=dict(self.options))


@dataclass(frozen=True)
class Settings:
    """What is measured; the defaults are those of the published table.

    Args:
        student, teacher: the networks; both have random weights, which costs the same as trained ones.
        size: side of the square (or cubic) images in pixels.
        dims: 2 or 3.
        augment: what is done to each image, a name of `meddistill.data.transforms.PRESETS`.
        batch: images in a batch.
        steps: timed steps of each loop in a round; one more goes before them, untimed.
        rounds: how often every loop has its turn.
        temperature: of the distillation.
        lr: of Adam.
        seed: of weights, images and orders.
    """

    student: Network = Network("pcd/unet", {"width": 8})
    teacher: Network = Network("pcd/unet", {"width": 16})
    size: int = 96
    dims: int = 2
    augment: str = "none"
    batch: int = 24
    steps: int = 4
    rounds: int = 20
    temperature: float = 4.5
    lr: float = 0.003
    seed: int = 0


class Task:
    """Images, networks and methods, made once and shared by all loops."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.spec = settings.student.spec(settings.dims)
        self._student = self.spec.build()
        self.teacher = settings.teacher.spec(settings.dims).build().eval().requires_grad_(False)
        cases = settings.batch * (settings.steps + 1)
        size = (max(settings.size, MIN_SIDE),) * settings.dims
        source = PhantomSource(cases, size=size, seed=settings.seed)
        self.cache = CaseCache(source, source.cases, size=settings.size)
        self.transform = make_transform(settings.augment, dims=settings.dims)
        images, labels = self.cache.gather(range(cases))
        self.decoded: Dataset[Any] = TensorDataset(as_float(images), labels.long())
        if self.transform is not None:
            self.decoded = Pairs(self.decoded, self.transform, settings.seed)
        sampler = EpochSampler(cases, seed=settings.seed, shuffle=True, batch_size=settings.batch)
        self.order = [index for batch in sampler for _, index in batch]
        self.methods = {
            "supervised": Supervised(),
            "kd": Distillation(temperature=settings.temperature),
            "pcd": PacedDistillation(mode="tpl_uncert", temperature=settings.temperature),
        }
        for method in self.methods.values():
            method.prepare(
                Context(
                    num_classes=2, epochs=100, teacher_batches=self._teacher_batches, teacher_temperature=1.5
                )
            )

    def student(self) -> nn.Module:
        """A student with the first weights, in training mode."""
        return copy.deepcopy(self._student).train()

    def optimizer(self, student: nn.Module) -> torch.optim.Optimizer:
        """A fresh Adam."""
        return torch.optim.Adam(student.parameters(), lr=self.settings.lr)

    def tutorial_loader(self) -> DataLoader[Any]:
        """Pairs of image and label from memory, one by one and collated."""
        return DataLoader(self.decoded, batch_size=self.settings.batch, sampler=self.order)

    def loader(self, *, stored: bool = False) -> DataLoader[Any]:
        """The loader that `fit` uses, with the teacher's stored logits or without."""
        seed = self.settings.seed
        teacher = self.stored if stored else None
        dataset = CaseDataset(self.cache, transform=self.transform, seed=seed, teacher=teacher)
        return make_loader(dataset, batch_size=self.settings.batch, shuffle=True, seed=seed)

    @cached_property
    def stored(self) -> JointLogits:
        """The teacher's logits of all images, in a temporary store."""
        teacher, images = Teacher(self.teacher), RowImages((self.cache,))
        manifest = manifest_for(teacher, images)
        store = TeacherStore.temporary(manifest)
        for start in range(0, manifest.rows, self.settings.batch):
            rows = range(start, min(start + self.settings.batch, manifest.rows))
            store.write(start, teacher(images(rows)))
        return JointLogits(store, [case.id for case in self.cache.cases])

    def _teacher_batches(self) -> list[tuple[Tensor, Tensor]]:
        teacher = Teacher(self.teacher)
        return [(teacher(image), label) for image, label in self.tutorial_loader()]


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Image and label, changed as `CaseDataset` changes them in the first epoch, one by one."""

    def __init__(self, plain: Dataset[Any], transform: JointTransform, seed: int) -> None:
        self.plain = plain
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.plain)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.plain[index]
        sample = self.transform(Sample(image=image, label=label), mixed_seed(self.seed, 0, index))
        return sample["image"], sample["label"]
