"""The steps of a training, taken one by one: what `bench` and `--auto-tune` measure."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from meddistill.methods import Batch
from meddistill.training.assembly import Assembly
from meddistill.training.clock import NoClock, StepClock
from meddistill.training.launcher import make_trainer
from meddistill.training.module import DistillationModule
from meddistill.training.preparation import rehearse


class TimedModule(DistillationModule):
    """The same steps, with teacher, student and loss noted on a clock."""

    clock = NoClock()

    def teach(self, batch: Batch) -> Tensor | None:
        """The teacher's logits."""
        with self.clock.part("teacher"):
            return super().teach(batch)

    def answer(self, batch: Batch) -> Any:
        """What the method asks of the student."""
        with self.clock.part("student"):
            return super().answer(batch)

    def score(self, answer: Any, batch: Batch, teacher_logits: Tensor | None) -> dict[str, Tensor]:
        """The method's loss and its terms."""
        with self.clock.part("loss"):
            return super().score(answer, batch, teacher_logits)


class StepLoop:
    """Takes the steps of a training on one device; nothing is scored, logged or written between them.

    Loader, transfer, `DistillationModule`, precision, layout, compiling, clipping and optimiser are those
    of `fit`, in its order, in the first epoch. Batches smaller than the first are passed over.

    Args:
        task: what to train, not yet ready.

    Raises:
        DataError: an image cannot be read.
        ConfigError: this machine lacks the hardware that is asked for, or cannot compile.
    """

    def __init__(self, task: Assembly) -> None:
        config = task.recipe.training
        one = config.model_copy(update={"devices": 1, "nodes": 1, "strategy": "auto"})
        self._strategy = make_trainer(one).strategy
        self.device: torch.device = self._strategy.root_device
        task.data.dataset("train")
        task.ready(self.device)
        logits = rehearse(task)
        self.task = task
        self._module = task.module(TimedModule, live=logits is None).to(self.device)
        self._optimizer = _optimizer(self._module)
        world_size = config.devices * config.nodes
        self._batches = _whole_batches(task.training_loader(logits, world_size=world_size))
        self._taken = 0
        self._module.on_fit_start()
        self._module.on_train_epoch_start()

    @contextlib.contextmanager
    def clocked(self) -> Iterator[StepClock]:
        """A clock that notes the parts of the steps meanwhile."""
        clock = StepClock(self.device)
        self._module.clock = clock
        yield clock
        self._module.clock = NoClock()

    def settle(self) -> None:
        """Take the steps that should not be timed: the first, and those whose batches wait loaded already."""
        for _ in range(1 + 2 * self.task.recipe.training.workers):
            self.step()

    def step(self) -> int:
        """Take one step; the number of images in it.

        Raises:
            RunError: the loss became infinite.
        """
        module, optimizer = self._module, self._optimizer
        clock, clip = module.clock, module.config.gradient_clip
        with clock.part("data"):
            batch = next(self._batches)
        with clock.part("transfer"):
            batch = module.on_before_batch_transfer(batch, 0)
            batch = self._strategy.batch_to_device(batch, self.device)
        with self._strategy.precision_plugin.train_step_context():
            loss = module.training_step(batch, self._taken)
        with clock.part("optimiser"):
            optimizer.zero_grad()
        with clock.part("backward"):
            loss.backward()
        with clock.part("optimiser"):
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(module.student.parameters(), clip)
            optimizer.step()
            module.on_train_batch_end(loss, batch, self._taken)
        self._taken += 1
        return len(batch["case_id"])


def _optimizer(module: DistillationModule) -> torch.optim.Optimizer:
    configured = module.configure_optimizers()
    optimizer: torch.optim.Optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    return optimizer


def _whole_batches(loader: Any) -> Iterator[Batch]:
    """The batches of one epoch after another that are as large as the first."""
    size = None
    for epoch in itertools.count():
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            size = size or len(batch["case_id"])
            if len(batch["case_id"]) == size:
                yield batch
