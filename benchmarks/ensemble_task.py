"""The work of the benchmark of ensembles: images, teachers, their stores, and the ways to train an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from epoch import Stopwatch
from meddistill.config import Recipe
from meddistill.config.load import check_recipe
from meddistill.data.dataset import as_float
from meddistill.data.teacher_logits import TeacherLogits
from meddistill.models import ModelSpec, save_weights
from meddistill.training.assembly import Assembly, assemble
from meddistill.training.callbacks import Recorder
from meddistill.training.fit import build_trainer
from meddistill.training.member_storing import stores_for
from meddistill.training.module import build_optimizer
from meddistill.training.run_folder import RunFolder
from step_loops import quiet
from step_task import Network
from train_step import check_parity

RESNET = Network("timm/resnet18")
IMAGE_TEACHERS = tuple(
    Network(f"timm/{name}") for name in ("resnet50", "densenet121", "mobilenetv2_100", "resnet34")
)


@dataclass(frozen=True)
class Settings:
    """What is measured; images are noise and all networks have random weights, which changes no time.

    Args:
        task: `classification`, `multi_label` or `segmentation`.
        student: what is trained.
        teachers: the four members.
        classes: K; phantoms have two.
        size: side of the square images.
        images: in an epoch.
        batch: images in a batch.
        encoding: of the store.
        rounds: how often every way has its turn.
        seed: of weights, images and orders.
    """

    task: str = "classification"
    student: Network = RESNET
    teachers: Sequence[Network] = IMAGE_TEACHERS
    classes: int = 9
    size: int = 64
    images: int = 512
    batch: int = 64
    encoding: str = "float16"
    rounds: int = 10
    seed: int = 0


CASES: dict[str, Settings] = {
    "one class, 64 px": Settings(),
    "14 labels, 64 px": Settings(task="multi_label", classes=14),
    "maps, 128 px": Settings(
        task="segmentation",
        student=Network("pcd/unet", {"width": 16}),
        teachers=(Network("pcd/unet", {"width": 32}),) * 4,
        classes=2,
        size=128,
        images=64,
        batch=8,
    ),
}

TOLERANCE = 2e-3
"""Half precision moves a logit by 2^-11 of its size."""


@dataclass(frozen=True)
class Way:
    """One way to train the student: what is put together, and the stored logits that it reads."""

    task: Assembly
    logits: TeacherLogits | None = None

    def epoch(self) -> float:
        """The second of two epochs of what `meddistill train` runs, its checkpoint included."""
        config = self.task.recipe.training
        with TemporaryDirectory() as folder, quiet():
            run = RunFolder(Path(folder))
            trainer = build_trainer(config, run, Recorder(run, self.task.spec, config, has_selection=False))
            stopwatch = Stopwatch()
            trainer.callbacks.append(stopwatch)
            module = self.task.module(live=self.logits is None)
            trainer.fit(module, self.task.training_loader(self.logits))
        return stopwatch.ended - stopwatch.started[1]

    def first_loss(self) -> float:
        """The loss of the first batch with the first weights."""
        module, batch = self.task.module(), next(iter(self.task.training_loader(self.logits)))
        module.method.on_epoch_start(0)
        with torch.no_grad():
            terms = module.score(module.answer(batch), batch, module.teach(batch))
        return float(terms["loss"])


def plain_epoch(task: Assembly) -> float:
    """The loop of PyTorch's own tutorials over images in memory: the second of two epochs."""
    several = task.data.task == "multi_label"
    criterion: nn.Module = nn.BCEWithLogitsLoss() if several else nn.CrossEntropyLoss()
    images, labels = task.data.dataset("train").cache.gather(range(len(task.data.cases("train"))))
    decoded = TensorDataset(as_float(images), labels.float() if several else labels.long())
    loader = DataLoader(decoded, batch_size=task.recipe.training.batch_size, shuffle=True)
    student = task.student.train()
    optimizer = build_optimizer(student, task.recipe.training)
    started = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for image, label in loader:
            loss = criterion(student(image), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Bench:
    """The files of one case, and the ways to train on them.

    Args:
        settings: what is measured.
        folder: for images, weights of the teachers and their stores.
    """

    settings: Settings
    folder: Path
    written: dict[str, float] = field(default_factory=dict)

    def recipe(self, method: str, **teacher: Any) -> Recipe:
        """The recipe of one way."""
        settings = self.settings
        return check_recipe(
            {
                "name": "ensemble-epoch",
                "seed": settings.seed,
                "data": {"source": self._source(), "splits": self._splits(), "size": [settings.size] * 2},
                "model": {"name": settings.student.name, "options": dict(settings.student.options)},
                "method": {"name": method},
                "teacher": {"encoding": settings.encoding, "precision": "32", **teacher},
                "training": {
                    "epochs": 2, "batch_size": settings.batch, "precision": "32", "accelerator": "cpu",
                },
            }
        )  # fmt: skip

    def ways(self) -> dict[str, Callable[[], float]]:
        """Every way to train an epoch; the stores are written here, and checked against the live teachers.

        Raises:
            ValueError: stored logits give another first loss than the live teachers.
        """
        members = [{"path": str(path)} for path in self._members()]
        supervised = Way(assemble(self.recipe("supervised")))
        live = Way(assemble(self.recipe("stochastic", members=members, mode="live")))
        stored, mean = (self._stored(name, members) for name in ("stochastic", "distillation"))
        losses = {"stochastic/live": [live.first_loss()], "stochastic/stored": [stored.first_loss()]}
        check_parity(losses, references={"stochastic": "stochastic/live"}, tolerance=TOLERANCE)
        return {
            "plain loop": partial(plain_epoch, supervised.task),
            "supervised": supervised.epoch,
            "supervised again": supervised.epoch,
            "stored": stored.epoch,
            "mean": mean.epoch,
            "live": live.epoch,
        }

    def _stored(self, method: str, members: Sequence[Mapping[str, str]]) -> Way:
        recipe = self.recipe(method, members=list(members))
        task = assemble(recipe)
        assert task.teacher is not None
        started = time.perf_counter()
        stored = stores_for(recipe, task.data, task.teacher, self.folder / "stores", method=task.method)
        self.written[method] = time.perf_counter() - started
        assert stored is not None
        return Way(task, stored.logits(tuple(task.data.cases("train")), seed=recipe.seed))

    def _members(self) -> list[Path]:
        settings = self.settings
        paths = [self.folder / f"teacher-{number}.safetensors" for number in range(len(settings.teachers))]
        for number, (network, path) in enumerate(zip(settings.teachers, paths, strict=True)):
            torch.manual_seed(settings.seed + number)
            spec = ModelSpec(
                network.name,
                num_classes=settings.classes,
                options=dict(network.options),
                size=(settings.size,) * 2,
                task=settings.task,
            )
            save_weights(spec.build(), spec, path)
        return paths

    def _source(self) -> dict[str, Any]:
        settings = self.settings
        if settings.task == "segmentation":
            return {"kind": "phantom", "cases": settings.images + 1, "seed": settings.seed}
        file = self.folder / "images.npz"
        if not file.exists():
            np.savez(file, **_noise(settings))
        return {"kind": "medmnist", "file": str(file)}

    def _splits(self) -> dict[str, Any]:
        cases = self.settings.images + 1
        if self.settings.task != "segmentation":
            return {}
        return {"fractions": {"train": self.settings.images / cases, "test": 1 / cases}}


def _noise(settings: Settings) -> dict[str, np.ndarray]:
    """The arrays of a file of MedMNIST: noise, with every class (or label) in every split."""
    generator, arrays = np.random.default_rng(settings.seed), {}
    for part, count in (("train", settings.images), ("val", settings.classes), ("test", settings.classes)):
        size = (count, settings.size, settings.size)
        arrays[f"{part}_images"] = generator.integers(0, 256, size, dtype=np.uint8)
        classes = np.arange(count) % settings.classes
        several = (classes[:, None] == np.arange(settings.classes)).astype(np.uint8)
        arrays[f"{part}_labels"] = several if settings.task == "multi_label" else classes[:, None]
    return arrays
