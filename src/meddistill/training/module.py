"""The Lightning shell round a method: it moves tensors and logs numbers, the method does the thinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import lightning as L
import torch
from torch import Tensor, nn

from meddistill.config import TrainingConfig
from meddistill.data.task import Task
from meddistill.errors import RunError
from meddistill.methods import Batch, Method, with_rows
from meddistill.methods.class_weights import label_loss_of
from meddistill.models import hold_frozen
from meddistill.teachers import BaseTeacher
from meddistill.training.means import WeightedMean
from meddistill.training.selection import selection_score


class DistillationModule(L.LightningModule):
    """Student, method and frozen teacher in one training loop.

    The teacher is kept out of the module tree, so that checkpoints, optimisers and DDP see the student alone.

    Args:
        student: network from (B, C, *S) in 0..1 to logits (B, K, *S), in the form that the method asks for.
        method: what computes the loss.
        teacher: frozen teacher, or None when the method needs none.
        config: optimiser and schedule.
        num_classes: K, background included.
        task: what a label is, see `meddistill.data.task`.
        seed: every epoch starts the random generators from (seed, epoch), so a resumed run agrees with an
            uninterrupted one.
        frozen: names of the student's modules that `models.freeze` froze; they stay in evaluation mode.
    """

    def __init__(
        self,
        student: nn.Module,
        method: Method,
        teacher: BaseTeacher | None,
        config: TrainingConfig,
        *,
        num_classes: int,
        seed: int,
        task: Task = "segmentation",
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.student = student
        self.method = method
        self.config = config
        self.num_classes = num_classes
        self.seed = seed
        self.frozen = tuple(frozen)
        self._outside: dict[str, BaseTeacher | None] = {"teacher": teacher}
        self._average: dict[str, nn.Module] = {}
        self._unchecked: list[tuple[Tensor, list[str]]] = []
        self._train_means: dict[str, WeightedMean] = {}
        self.selection_loss = WeightedMean()
        self.selection = selection_score(task, num_classes)

    @property
    def teacher(self) -> BaseTeacher | None:
        """The frozen teacher."""
        return self._outside["teacher"]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but what is frozen."""
        super().train(mode)
        hold_frozen(self.student, self.frozen)
        return self

    @property
    def evaluated(self) -> nn.Module:
        """What is scored and kept: the student, or an average of its weights once there is one."""
        return self._average.get("network", self.student)

    def evaluate_with(self, network: nn.Module) -> None:
        """Score and keep `network` from now on; like the teacher it stays out of the module tree."""
        self._average["network"] = network

    def forward(self, image: Tensor) -> Tensor:
        """Student logits."""
        logits: Tensor = self.student(image)
        return logits

    def on_fit_start(self) -> None:
        """Bring the teacher to the student's device."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Set the pace and the random generators of this epoch."""
        self.method.on_epoch_start(self.current_epoch)
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one batch; on an accelerator nothing in it waits for the device.

        Raises:
            RunError: the loss is not finite; names the cases of the batch.
        """
        teacher_logits = self.teach(batch)
        terms = self.score(self.answer(batch), batch, teacher_logits)
        loss = terms["loss"]
        self._watch(loss.detach(), batch["case_id"], batch_index)
        for name, term in terms.items():
            self._mean(name).update(term.detach(), weight=len(batch["case_id"]))
        return loss

    def teach(self, batch: Batch) -> Tensor | None:
        """The teacher's logits: those that the batch brings, else its answer to the images; None without."""
        stored = batch.get("teacher_logits")
        if stored is None and self.teacher is not None and self.method.needs_teacher:
            ask = self.teacher.answers if self.method.needs_members else self.teacher
            answered: Tensor = ask(batch["image"])
            return answered
        return stored

    def answer(self, batch: Batch) -> Any:
        """What the method asks of the student: most often its logits."""
        return self.method.answer(self.student, batch)

    def score(self, answer: Any, batch: Batch, teacher_logits: Tensor | None) -> dict[str, Tensor]:
        """The method's loss and its terms."""
        return self.method(answer, batch, teacher_logits)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Find the fully labelled cases of a batch while it is where it can be read without waiting."""
        return with_rows(batch)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the method follow the step of the optimiser."""
        self.method.after_step(self.student)

    def _mean(self, name: str) -> WeightedMean:
        if name not in self._train_means:
            self._train_means[name] = WeightedMean().to(self.device)
        return self._train_means[name]

    def _watch(self, loss: Tensor, case_ids: list[str], batch_index: int) -> None:
        """Stop on a loss that is not finite; an accelerator is asked every 50 batches, to keep it busy."""
        self._unchecked.append((loss, case_ids))
        if loss.device.type != "cpu" and (batch_index + 1) % 50:
            return
        self._check_losses()

    def _check_losses(self) -> None:
        unchecked, self._unchecked = self._unchecked, []
        values = torch.stack([loss for loss, _ in unchecked]).tolist() if unchecked else []
        for value, (_, case_ids) in zip(values, unchecked, strict=True):
            if not math.isfinite(value):
                where = f"in epoch {self.current_epoch} on the cases {', '.join(case_ids)}"
                raise RunError(
                    f"the loss became {value} {where}; "
                    "lower training.lr, set training.gradient_clip, or look at these cases"
                )

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Cross-entropy and score on the selection split."""
        logits = self.evaluated(batch["image"]).float()
        self.selection_loss.update(label_loss_of(logits, batch["label"]), weight=len(batch["case_id"]))
        self.selection.update(logits, batch["label"])

    def training_means(self) -> dict[str, float]:
        """Mean of each loss term over the epoch, then forget it."""
        self._check_losses()
        used = {name: mean for name, mean in self._train_means.items() if mean.update_called}
        means = {f"train_{name}": float(mean.compute()) for name, mean in used.items()}
        for mean in used.values():
            mean.reset()
        return means

    def selection_means(self) -> dict[str, float]:
        """Loss and score on the selection split, then forget them."""
        means = {
            "selection_loss": float(self.selection_loss.compute()),
            self.selection.column: self.selection.value(),
        }
        self.selection_loss.reset()
        self.selection.reset()
        return means

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the method prepared."""
        checkpoint["method"] = dict(self.method.state_dict())
        checkpoint["state_dict"] = {
            name: value for name, value in checkpoint["state_dict"].items() if name.startswith("student.")
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what the method prepared."""
        self.method.load_state_dict(checkpoint["method"])

    def configure_optimizers(self) -> Any:
        """Optimiser over the student's parameters and, unless constant, a schedule by epoch."""
        optimizer = build_optimizer(self.student, self.config)
        schedule = build_schedule(optimizer, self.config)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}


def build_optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """The optimiser that the recipe names."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)


def build_schedule(
    optimizer: torch.optim.Optimizer, config: TrainingConfig
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The learning-rate schedule that the recipe names, stepped once per epoch; None for a constant rate."""
    if config.scheduler == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    if config.scheduler == "step":
        return torch.optim.lr_scheduler.StepLR(optimizer, config.step_epochs, config.step_factor)
    return None
