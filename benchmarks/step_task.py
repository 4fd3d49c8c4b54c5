"""The work that every loop of `train_step.py` does: images, networks and methods, made once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from meddistill.data import CaseCache, CaseDataset, make_loader
from meddistill.data.dataset import as_float
from meddistill.data.phantom import MIN_SIDE, PhantomSource
from meddistill.data.sampler import EpochSampler
from meddistill.methods import Context, Distillation, PacedDistillation, Supervised
from meddistill.models import ModelSpec
from meddistill.teachers import Teacher


@dataclass(frozen=True)
class Network:
    """A name of `create_model` and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def spec(self) -> ModelSpec:
        """As `create_model` wants it: grey images, background and lesion."""
        return ModelSpec(self.name, in_channels=1, num_classes=2, options=dict(self.options))


@dataclass(frozen=True)
class Settings:
    """What is measured; the defaults are those of the published table.

    Args:
        student, teacher: the networks; both have random weights, which costs the same as trained ones.
        size: side of the square images in pixels.
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
        self.spec = settings.student.spec()
        self._student = self.spec.build()
        self.teacher = settings.teacher.spec().build().eval().requires_grad_(False)
        cases = settings.batch * (settings.steps + 1)
        source = PhantomSource(cases, size=(max(settings.size, MIN_SIDE),) * 2, seed=settings.seed)
        cache = CaseCache(source, source.cases, size=settings.size)
        self._cases = CaseDataset(cache)
        images, labels = cache.gather(range(cases))
        self.decoded = TensorDataset(as_float(images), labels.long())
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

    def loader(self) -> DataLoader[Any]:
        """The loader that `fit` uses."""
        return make_loader(self._cases, batch_size=self.settings.batch, shuffle=True, seed=self.settings.seed)

    def _teacher_batches(self) -> list[tuple[Tensor, Tensor]]:
        teacher = Teacher(self.teacher)
        return [(teacher(image), label) for image, label in self.tutorial_loader()]
