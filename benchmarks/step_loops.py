"""The training loops that the step benchmarks compare, each written as its users would write it.

Every loop trains the same student from the same weights, with a fresh Adam, on the same batches in the same
order, and calls `tick(loss)` after each step.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.config import TrainingConfig
from meddistill.methods import Method
from meddistill.teachers import Teacher
from meddistill.training.callbacks import Recorder
from meddistill.training.fit import build_trainer
from meddistill.training.module import DistillationModule
from meddistill.training.run_folder import RunFolder
from step_task import Task

Tick = Callable[[Tensor], None]
"""Takes the loss of each step when the step is done."""

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


def method_loop(work: str, *, stored: bool = False) -> Loop:
    """A meddistill method in a loop of one's own, asking the teacher live or with its stored logits."""

    def run(task: Task, tick: Tick) -> None:
        student, method = task.student(), task.methods[work]
        teacher = Teacher(task.teacher) if method.needs_teacher and not stored else None
        optimizer = task.optimizer(student)
        method.on_epoch_start(0)
        for batch in task.loader(stored=stored):
            teacher_logits = batch.get("teacher_logits") if teacher is None else teacher(batch["image"])
            loss = method(student(batch["image"]), batch, teacher_logits)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tick(loss)

    return run


def shell_loop(work: str, *, stored: bool = False) -> Loop:
    """The whole of what `meddistill train` runs for an epoch; start-up and epoch end are not timed."""

    def run(task: Task, tick: Tick) -> None:
        settings, method = task.settings, task.methods[work]
        config = TrainingConfig(
            epochs=1, batch_size=settings.batch, lr=settings.lr, precision="32", accelerator="cpu"
        )
        with tempfile.TemporaryDirectory() as folder, quiet():
            run_folder = RunFolder(Path(folder))
            recorder = Recorder(run_folder, task.spec, config, has_selection=False)
            trainer = build_trainer(config, run_folder, recorder)
            trainer.callbacks.append(_Ticker(tick))
            trainer.fit(_module(task, method, config, stored=stored), task.loader(stored=stored))

    return run


def _module(task: Task, method: Method, config: TrainingConfig, *, stored: bool) -> DistillationModule:
    teacher = Teacher(task.teacher) if method.needs_teacher and not stored else None
    return DistillationModule(task.student(), method, teacher, config, num_classes=2, seed=task.settings.seed)


class _Ticker(L.Callback):
    def __init__(self, tick: Tick) -> None:
        self.tick = tick

    def on_train_batch_end(self, _trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        self.tick(outputs["loss"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without hints and progress on stderr."""
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
            "beta": 1.0 / settings.size**settings.dims,
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

STORED_LOOPS: dict[str, Loop] = {
    "supervised/plain": plain_supervised,
    "supervised/plain again": plain_supervised,
    "supervised/method": method_loop("supervised"),
    "kd/stored": method_loop("kd", stored=True),
    "kd/stored shell": shell_loop("kd", stored=True),
    "kd/live": method_loop("kd"),
    "pcd/stored": method_loop("pcd", stored=True),
    "pcd/live": method_loop("pcd"),
}
"""What a step costs when the teacher's logits come from a store."""


def torchdistill_version() -> str | None:
    """Version of the installed torchdistill package, or None."""
    return metadata.version("torchdistill") if util.find_spec("torchdistill") else None
