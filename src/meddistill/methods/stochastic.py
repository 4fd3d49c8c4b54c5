"""Robust stochastic distillation: several teachers, one of which dominates in turn (RoS-KD).

Jaiswal, Ashutosh, Rousseau, Peng, Wang and Ding, "RoS-KD: a robust stochastic knowledge distillation approach
for noisy medical imaging" (ICDM 2022, arXiv 2210.08388).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from meddistill.errors import ConfigError, TeacherError
from meddistill.losses import IGNORE_INDEX, ensemble_bernoulli_kl, ensemble_kl, masked_mean
from meddistill.losses.checks import check_choice, check_fraction, check_positive, several_labels, wide
from meddistill.methods.base import Batch, Context, Method
from meddistill.methods.checks import check_class_count
from meddistill.methods.class_weights import label_loss_of
from meddistill.methods.roskd_presets import PRESETS
from meddistill.methods.teacher_draw import Draw, TeacherDraw

Per = Literal["batch", "sample"]


@dataclass(kw_only=True, eq=False)
class StochasticEnsembleDistillation(Method):
    """L = (1 - alpha) CE + alpha T^2 sum_i w_pi(i) KL_i, with a new permutation pi in every batch.

    KL_i is the divergence of the student from teacher i at temperature T, CE the cross-entropy with the
    label, both means over the labelled pixels. With the weights of the prototype one teacher, chosen at
    random, has most of the weight in a batch; on average all count alike. With one teacher this is
    `Distillation(temperature, alpha)`.

    Labels of whole images are learnt in the same way, one "pixel" each. Labels that do not exclude each other
    are (B, K, *S), each 0, 1 or ignored: KL_i is then the divergence of each label's probability and CE the
    binary cross-entropy, both means over the known labels.

    Args:
        weights: of the teachers before they are shuffled; see `TeacherDraw` for more or fewer teachers.
        draw: "permute" the weights, draw them from a "dirichlet" distribution, or "uniform" ones.
        per: one draw for each "batch", or for each "sample": for each case in each epoch.
        concentration: of the Dirichlet distribution.
        temperature: T of the divergence.
        alpha: share of the divergence, 0..1.
        multi_label: whether labels do not exclude each other; None goes by their shape, and what is said
            here must agree with it.
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
    answers_images = True
    weights: Sequence[float] = (0.7, 0.2, 0.09, 0.01)
    draw: Draw = "permute"
    per: Per = "batch"
    concentration: float = 1.0
    temperature: float = 10.0
    alpha: float = 0.9
    multi_label: bool | None = None
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
            batch: its `label` (B, *S) is used, (B, K, *S) of labels that do not exclude each other; and
                `case_id` for one draw per sample.
            teacher_logits: (B, M, K, *S) of M teachers; (B, K, *S) is one teacher.

        Raises:
            ValueError: shapes disagree, or there are no teacher logits.
            TeacherError: the teachers have another number of classes.
            ConfigError: the labels are of another kind than `multi_label` says.
        """
        teachers, labels = _members(student_logits, teacher_logits), batch["label"]
        several = self._several(student_logits, labels)
        weights = self._drawn(teachers.shape[1], batch, student_logits)
        if several and self._settings.labels == "softmax":
            ce, valid = _of_one_softmax(student_logits, labels)
        else:
            ce, valid = label_loss_of(student_logits, labels), labels != IGNORE_INDEX
        values = self._divergence(student_logits, teachers, weights, several=several)
        kd = masked_mean(values, values.new_ones(()), valid)
        loss = self.alpha * kd + (1 - self.alpha) * ce
        return {"loss": loss, "kd": kd.detach(), "ce": ce.detach()}

    def _several(self, student: Tensor, labels: Tensor) -> bool:
        """Whether labels do not exclude each other."""
        several = several_labels(student, labels)
        if self.multi_label not in (None, several):
            raise ConfigError(
                f"multi_label is {self.multi_label}, but labels of the shape {tuple(labels.shape)} "
                f"{'do not exclude' if several else 'exclude'} each other; leave it out"
            )
        return several

    def _divergence(self, student: Tensor, teachers: Tensor, weights: Tensor, *, several: bool) -> Tensor:
        """The weighted divergence of each pixel (B, *S), or of each label (B, K, *S)."""
        temperature, settings = self.temperature, self._settings
        if several and settings.labels == "bernoulli":
            return ensemble_bernoulli_kl(student, teachers, weights, temperature=temperature)
        reduction = settings.class_reduction
        return ensemble_kl(student, teachers, weights, temperature=temperature, class_reduction=reduction)

    def _drawn(self, teachers: int, batch: Batch, student: Tensor) -> Tensor:
        """The weights of the teachers: (M,), or (B, M) with those of each image."""
        precision = torch.promote_types(student.dtype, torch.float32)
        if self.per == "batch":
            drawn = self._draw(teachers, self._generator(self._step))
            self._step += 1
            # filled on the device: a copy from the host would wait for it
            return torch.stack([student.new_full((), weight, dtype=precision) for weight in drawn])
        keys = [zlib.crc32(name.encode()) for name in batch["case_id"]]
        each = [self._draw(teachers, self._generator(key)) for key in keys]
        return torch.tensor(each, dtype=precision).to(student.device, non_blocking=True)

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


def _of_one_softmax(student: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of all labels of a pixel with one softmax, and where any of them is known."""
    known = labels != IGNORE_INDEX
    valid = known.any(1)
    values = -(labels * known * wide(student).log_softmax(1)).sum(1)
    return masked_mean(values, values.new_ones(()), valid), valid


def _members(student: Tensor, teachers: Tensor | None) -> Tensor:
    """The logits (B, M, K, *S) of the teachers, detached."""
    if teachers is None:
        raise ValueError("this method needs teachers: pass teacher_logits (B, M, K, *S)")
    if teachers.ndim == student.ndim:
        teachers = teachers.unsqueeze(1)
    if teachers.ndim != student.ndim + 1 or not teachers.shape[1]:
        raise TeacherError(
            f"logits {tuple(teachers.shape)} are not those of each teacher, (B, M, K, *S): give an ensemble "
            "with teacher.members"
        )
    first = teachers[:, 0]
    check_class_count(first, student.shape[1])
    if first.shape != student.shape:
        raise ValueError(
            f"logits {tuple(first.shape)} of each teacher do not fit student logits {tuple(student.shape)}"
        )
    return teachers.detach()
