"""The training loops that `train_step.py` compares, each written as its users would write it.

Every loop trains the same student from the same weights, with a fresh Adam, on the same batches in the same
order, and calls `tick(loss)` after each step.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from meddistill.config import TrainingConfig
from meddistill.data import CaseCache, CaseDataset, make_loader
from meddistill.data.dataset import as_float
from meddistill.data.phantom import MIN_SIDE, PhantomSource
from meddistill.data.sampler import EpochSampler
from meddistill.methods import Context, Distillation, Method, PacedDistillation, Supervised
from meddistill.models import ModelSpec
from meddistill.teachers import Teacher
from meddistill.training.callbacks import Recorder
from meddistill.training.fit import build_trainer
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder

Tick = Callable[[Tensor], None]
"""Takes the loss of each step when the step is done."""


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
        self.decoded = TensorDataset(as_float(cache.images), cache.labels.long())
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
        return make_loader(
            self._cases, batch_size=self.settings.batch, shuffle=True, seed=self.settings.seed
        )

    def _teacher_batches(self) -> list[tuple[Tensor, Tensor]]:
        teacher = Teacher(self.teacher)
        return [(teacher(image), label) for image, label in self.tutorial_loader()]


Loop = Callable[[Task, Tick], None]


def plain_supervised(task: Task, tick: Tick) -> None:
    """The loop of PyTorch's own tutorials."""
    student = task.student()
    optimizer = task.optimizer(student)
    criterion = nn.CrossEntropyLoss()
    for image, label in task.tutorial_loader():
        loss = criterion(student(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick(loss)


def plain_kd(task: Task, tick: Tick) -> None:
    """The loop of knowledge-distillation tutorials: KLDivLoss of softened outputs, times T^2, plus labels.

    "batchmean" divides by the batch alone; dividing by the pixels too gives the mean over pixels of the
    divergence summed over classes.
    """
    student, teacher, temperature = task.student(), task.teacher, task.settings.temperature
    optimizer = task.optimizer(student)
    criterion, divergence = nn.CrossEntropyLoss(), nn.KLDivLoss(reduction="batchmean")
    for image, label in task.tutorial_loader():
        with torch.no_grad():
            teacher_logits = teacher(image)
        logits = student(image)
        soft = divergence(
            F.log_softmax(logits / temperature, dim=1), F.softmax(teacher_logits / temperature, dim=1)
        )
        loss = criterion(logits, label) + soft * temperature**2 / label[0].numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick(loss)


def method_loop(work: str) -> Loop:
    """A meddistill method in a loop of one's own."""

    def run(task: Task, tick: Tick) -> None:
        student, method = task.student(), task.methods[work]
        teacher = Teacher(task.teacher) if method.needs_teacher else None
        optimizer = task.optimizer(student)
        method.on_epoch_start(0)
        for batch in task.loader():
            teacher_logits = None if teacher is None else teacher(batch["image"])
            loss = method(student(batch["image"]), batch, teacher_logits)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tick(loss)

    return run


def shell_loop(work: str) -> Loop:
    """The whole of what `meddistill train` runs for an epoch; start-up and epoch end are not timed."""

    def run(task: Task, tick: Tick) -> None:
        settings, method = task.settings, task.methods[work]
        config = TrainingConfig(
            epochs=1, batch_size=settings.batch, lr=settings.lr, precision="32", accelerator="cpu"
        )
        with tempfile.TemporaryDirectory() as folder, _quiet():
            run_folder = RunFolder(Path(folder))
            recorder = Recorder(run_folder, task.spec, config, has_selection=False)
            trainer = build_trainer(config, run_folder, recorder)
            trainer.callbacks.append(_Ticker(tick))
            trainer.fit(_module(task, method, config), task.loader())

    return run


def _module(task: Task, method: Method, config: TrainingConfig) -> DistillationModule:
    teacher = Teacher(task.teacher) if method.needs_teacher else None
    return DistillationModule(
        task.student(), method, teacher, config, num_classes=2, seed=task.settings.seed
    )


class _Ticker(L.Callback):
    def __init__(self, tick: Tick) -> None:
        self.tick = tick

    def on_train_batch_end(self, _trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        self.tick(outputs["loss"])


@contextlib.contextmanager
def _quiet():
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def torchdistill_kd(task: Task, tick: Tick) -> None:
    """The `DistillationBox` of torchdistill with its `KDLoss`, set up and called as its examples do."""
    from torchdistill.core.distillation import get_distillation_box

    box = get_distillation_box(
        teacher_model=task.teacher,
        student_model=task.student(),
        dataset_dict={"train": task.decoded},
        train_config=torchdistill_config(task),
        device=torch.device("cpu"),
        device_ids=None,
        distributed=False,
        lr_factor=1,
    )
    box.pre_epoch_process(epoch=0)
    for image, label, extra in box.train_data_loader:
        loss = box.forward_process(image, label, extra)
        box.post_forward_process(loss)
        tick(loss)


def torchdistill_config(task: Task) -> dict[str, Any]:
    """The training section of a torchdistill recipe.

    Its loss is alpha CE + beta T^2 KL with KL divided by the batch alone, hence beta = 1 / pixels.
    """
    settings = task.settings
    no_hook: dict[str, list[str]] = {"input": [], "output": []}
    loss = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".",
            "student_module_io": "output",
            "teacher_module_path": ".",
            "teacher_module_io": "output",
            "temperature": settings.temperature,
            "alpha": 1.0,
            "beta": 1.0 / settings.size**2,
            "reduction": "batchmean",
        },
    }
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": lambda _dataset: task.order},
            "kwargs": {"batch_size": settings.batch},
        },
        "teacher": {"forward_proc": "forward_batch_only", "forward_hook": no_hook, "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "forward_hook": no_hook, "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": settings.lr}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": 1.0}}},
        },
    }


LOOPS: dict[str, Loop] = {
    "supervised/plain": plain_supervised,
    "supervised/method": method_loop("supervised"),
    "supervised/shell": shell_loop("supervised"),
    "kd/plain": plain_kd,
    "kd/plain again": plain_kd,
    "kd/method": method_loop("kd"),
    "kd/shell": shell_loop("kd"),
    "kd/torchdistill": torchdistill_kd,
    "pcd/method": method_loop("pcd"),
    "pcd/shell": shell_loop("pcd"),
}
"""By what is computed and by what runs it. The plain loop of KD runs twice: its ratio to itself is noise."""


def torchdistill_version() -> str | None:
    """Version of the installed torchdistill package, or None."""
    return metadata.version("torchdistill") if util.find_spec("torchdistill") else None
