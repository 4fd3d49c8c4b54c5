"""Robust stochastic distillation: several teachers, one of which dominates in turn (RoS-KD).

Jaiswal, Ashutosh, Rousseau, Peng, Wang and Ding, "RoS-KD: a robust stochastic knowledge distillation approach
for noisy medical imaging" (ICDM 2022, arXiv 2210.08388).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meddistill.errors import TeacherError
from meddistill.losses import (
    IGNORE_INDEX,
    bernoulli_kl,
    binary_cross_entropy,
    kl_divergence,
    masked_mean,
    partial_cross_entropy,
)
from meddistill.losses.checks import check_choice, check_fraction, check_positive, wide
from meddistill.methods.base import Batch, Context, Method
from meddistill.methods.checks import check_class_count
from meddistill.methods.roskd_presets import PRESETS
from meddistill.methods.teacher_draw import Draw, TeacherDraw

Per = Literal["batch", "sample"]
Weights = Sequence[float | Tensor]
Divergence = Callable[[Tensor], Tensor]


@dataclass(kw_only=True, eq=False)
class StochasticEnsembleDistillation(Method):
    """L = (1 - alpha) CE + alpha T^2 sum_i w_pi(i) KL_i, with a new permutation pi in every batch.

    KL_i is the divergence of the student from teacher i at temperature T, CE the cross-entropy with the
    label, both means over the labelled pixels. With the weights of the prototype one teacher, chosen at
    random, has most of the weight in a batch; on average all count alike. With one teacher this is
    `Distillation(temperature, alpha)`.

    With `multi_label` labels are (B, K, *S), each 0, 1 or ignored, KL_i is the divergence of each label's
    probability and CE the binary cross-entropy, both means over the known labels.

    Args:
        weights: of the teachers before they are shuffled; see `TeacherDraw` for more or fewer teachers.
        draw: "permute" the weights, draw them from a "dirichlet" distribution, or "uniform" ones.
        per: one draw for each "batch", or for each "sample": for each case in each epoch.
        concentration: of the Dirichlet distribution.
        temperature: T of the divergence.
        alpha: share of the divergence, 0..1.
        multi_label: whether labels do not exclude each other.
        preset: "paper", or "reference" for what the prototype computes, see docs/methods/roskd.md.
        seed: of the draws; None takes that of the training.

    Raises:
        ConfigError: an argument is out of range or unknown.

    Example:
        >>> image, label = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0]), case_id=["a"])
        >>> method = StochasticEnsembleDistillation(alpha=0.5)
        >>> terms = method(torch.zeros(1, 2, 2, 2), batch, torch.zeros(1, 4, 2, 2, 2))
        >>> terms["kd"], terms["loss"]
        (tensor(0.), tensor(0.3466))
    """

    needs_teacher = True
    needs_members = True
    weights: Sequence[float] = (0.7, 0.2, 0.09, 0.01)
    draw: Draw = "permute"
    per: Per = "batch"
    concentration: float = 1.0
    temperature: float = 10.0
    alpha: float = 0.9
    multi_label: bool = False
    preset: str = "paper"
    seed: int | None = None

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        check_fraction("alpha", self.alpha)
        check_choice("per", self.per, ("batch", "sample"))
        check_choice("preset", self.preset, PRESETS)
        self._draw = TeacherDraw(self.weights, self.draw, self.concentration)
        self._settings = PRESETS[self.preset]
        self._seed = self.seed or 0
        self.on_epoch_start(0)

    def prepare(self, context: Context) -> None:
        """Take the seed of the training, unless one was given."""
        self._seed = context.seed if self.seed is None else self.seed

    def on_epoch_start(self, epoch: int) -> None:
        """Begin the draws of this epoch, which depend on seed, epoch and step alone."""
        self._epoch, self._step = epoch, 0

    def __call__(
        self, student_logits: Tensor, batch: Batch, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`loss` and its terms `kd` and `ce`, before their weights.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used, (B, K, *S) with `multi_label`; and `case_id` for one draw per
                sample.
            teacher_logits: (B, M, K, *S) of M teachers; (B, K, *S) is one teacher.

        Raises:
            ValueError: shapes disagree, or there are no teacher logits.
            TeacherError: the teachers have another number of classes.
        """
        teachers = _members(student_logits, teacher_logits)
        weights = self._drawn(len(teachers), batch, student_logits)
        ce, divergence, valid = self._against(student_logits, batch["label"])
        values = torch.stack([w * divergence(z) for w, z in zip(weights, teachers, strict=True)]).sum(0)
        kd = masked_mean(values, values.new_ones(()), valid)
        loss = self.alpha * kd + (1 - self.alpha) * ce
        return {"loss": loss, "kd": kd.detach(), "ce": ce.detach()}

    def _against(self, student: Tensor, labels: Tensor) -> tuple[Tensor, Divergence, Tensor]:
        """The loss on the labels, what measures the divergence from a teacher, and where both count."""
        temperature, settings = self.temperature, self._settings
        known = labels != IGNORE_INDEX

        def softmax_divergence(teacher: Tensor) -> Tensor:
            reduction = settings.class_reduction
            return kl_divergence(student, teacher, temperature=temperature, class_reduction=reduction)

        def label_divergence(teacher: Tensor) -> Tensor:
            return bernoulli_kl(student, teacher, temperature=temperature, label_reduction="none")

        if not self.multi_label:
            return partial_cross_entropy(student, labels), softmax_divergence, known
        each = binary_cross_entropy(student, labels)
        if settings.labels == "bernoulli":
            return masked_mean(each, each.new_ones(()), known), label_divergence, known
        valid = known.any(1)
        ce = -(labels * known * wide(student).log_softmax(1)).sum(1)
        return masked_mean(ce, ce.new_ones(()), valid), softmax_divergence, valid

    def _drawn(self, teachers: int, batch: Batch, student: Tensor) -> Weights:
        """The weight of each teacher: one number, or one for each image in the shape (B, 1, ...)."""
        if self.per == "batch":
            weights = self._draw(teachers, self._generator(self._step))
            self._step += 1
            return weights
        keys = [zlib.crc32(name.encode()) for name in batch["case_id"]]
        rows = torch.tensor([self._draw(teachers, self._generator(key)) for key in keys])
        drawn = rows.to(student.device, wide(student).dtype, non_blocking=True)
        by_label = self.multi_label and self._settings.labels == "bernoulli"
        ones = (1,) * (student.ndim - (1 if by_label else 2))
        return [column.view(-1, *ones) for column in drawn.unbind(1)]

    def _generator(self, number: int) -> np.random.Generator:
        """The source of chance of one draw."""
        if self._settings.generator == "global":
            return np.random.default_rng(int(torch.randint(2**31, ())))
        return np.random.default_rng([self._seed, self._epoch, number])

    def state_dict(self) -> dict[str, Any]:
        """The seed, and where in the epoch the draws are."""
        return {"seed": self._seed, "epoch": self._epoch, "step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the draws where `state_dict` was taken."""
        self._seed, self._epoch, self._step = state["seed"], state["epoch"], state["step"]


def _members(student: Tensor, teachers: Tensor | None) -> list[Tensor]:
    """The logits (B, K, *S) of each teacher, detached."""
    if teachers is None:
        raise ValueError("this method needs teachers: pass teacher_logits (B, M, K, *S)")
    if teachers.ndim == student.ndim:
        teachers = teachers.unsqueeze(1)
    if teachers.ndim != student.ndim + 1 or not teachers.shape[1]:
        raise TeacherError(
            f"logits {tuple(teachers.shape)} are not those of each teacher, (B, M, K, *S): give an ensemble "
            "with teacher.members"
        )
    members = list(teachers.detach().unbind(1))
    check_class_count(members[0], student.shape[1])
    if members[0].shape != student.shape:
        raise ValueError(
            f"logits {tuple(members[0].shape)} of each teacher do not fit student logits "
            f"{tuple(student.shape)}"
        )
    return members
