"""Mixed supervision: few full masks, many weak labels.

Dolz, Desrosiers and Ben Ayed, "Teach me to segment with mixed supervision: confident students become masters"
(IPMI 2021), and Liu, Desrosiers, Ben Ayed and Dolz, "Segmentation with mixed supervision: confidence
maximization helps knowledge distillation" (MedIA 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from meddistill.losses import partial_cross_entropy, prediction_entropy
from meddistill.losses.checks import check_choice, check_positive
from meddistill.methods.base import Batch, Method
from meddistill.methods.confkd_presets import PRESETS, Preset, counted, divergence, repeated
from meddistill.methods.rows import PARTS_OF, Part, rows_of, union, weak_labels
from meddistill.methods.terms import check_parts, check_weights, label_loss, mean, weighted_mean

if TYPE_CHECKING:
    from meddistill.models import DualDecoder, DualLogits

ByPart = Callable[[Part], Tensor]
"""From a part of the batch to the rows of a tensor that belong to it."""


@dataclass(kw_only=True, eq=False)
class MixedSupervision(Method):
    """L = L_s + w_weak L_w + w_kd L_kd + w_ent L_ent, for a student with an upper and a lower decoder.

    L_s is the cross-entropy of the upper branch on full masks, L_w that of the lower branch on the few
    weakly labelled pixels, L_kd = T^2 KL(upper || lower) hands on what the upper branch learnt, and L_ent,
    the entropy of the lower branch, makes it confident. The upper branch is a constant in L_kd. A batch
    without `full` and `weak` counts as fully labelled, its weak label being the label.

    Args:
        preset: "paper", or "reference" (the released code, defects included).
        w_weak: weight of L_w.
        w_kd: weight of L_kd; None leaves it to the preset, 1 in "paper" and 50 in "reference".
        w_ent: weight of L_ent.
        temperature: T of L_kd.
        dice: weight of a soft Dice loss in L_s.
        kd_on: the images of L_kd, "full", "weak" or "all"; the upper branch runs on them too.
        ent_on: the images of L_ent.
        weak_on: the images of L_w; with "weak" fully labelled images do not teach by a weak label.

    Raises:
        ConfigError: an option is unknown or out of range.

    Example:
        >>> from meddistill.models import DualLogits
        >>> image, label = torch.zeros(2, 1, 2, 2), torch.zeros(2, 2, 2).long()
        >>> batch = Batch(image=image, label=label, index=torch.tensor([0, 1]), case_id=["a", "b"])
        >>> terms = MixedSupervision()(DualLogits(*torch.zeros(2, 2, 2, 2, 2)), batch)
        >>> {name: round(float(term), 4) for name, term in terms.items()}
        {'loss': 1.4556, 'strong': 0.6931, 'weak': 0.6931, 'kd': 0.0, 'entropy': 0.6931}
    """

    form = "dual_decoder"
    confident = "entropy"
    preset: Literal["paper", "reference"] = "paper"
    w_weak: float = 0.1
    w_kd: float | None = None
    w_ent: float = 1.0
    temperature: float = 2.0
    dice: float = 0.0
    kd_on: Part = "full"
    ent_on: Part = "all"
    weak_on: Part = "all"

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, PRESETS)
        check_positive("temperature", self.temperature)
        check_parts(kd_on=self.kd_on, ent_on=self.ent_on, weak_on=self.weak_on)
        check_weights(w_weak=self.w_weak, w_kd=self.kd_weight, w_ent=self.w_ent, dice=self.dice)

    @property
    def settings(self) -> Preset:
        """The row of the preset."""
        return PRESETS[self.preset]

    @property
    def kd_weight(self) -> float:
        """The weight of L_kd asked for, or else the preset's."""
        return self.settings.w_kd if self.w_kd is None else self.w_kd

    @property
    def upper_on(self) -> Part:
        """The images that the upper branch answers."""
        return union(["full", self.kd_on]) if self.kd_weight else "full"

    @property
    def lower_on(self) -> Part:
        """The images that the lower branch answers."""
        terms = ((self.weak_on, self.w_weak), (self.kd_on, self.kd_weight), (self.ent_on, self.w_ent))
        return union([part for part, weight in terms if weight] or ["all"])

    def answer(self, student: DualDecoder, batch: Batch) -> DualLogits:
        """The logits of both branches, each on the images that its terms need."""
        rows, image = rows_of(batch), batch["image"]
        if self.settings.images == "repeated":
            whole = repeated(student, image, rows)
            return whole._replace(
                upper=rows.take(whole.upper, self.upper_on), lower=rows.take(whole.lower, self.lower_on)
            )
        return student.branches_of(image, upper=rows.of(self.upper_on), lower=rows.of(self.lower_on))

    def __call__(
        self,
        answer: DualLogits,
        /,
        batch: Batch,
        teacher_logits: Tensor | None = None,  # noqa: ARG002 - part of the seam
    ) -> dict[str, Tensor]:
        """`loss` and its terms `strong`, `weak`, `kd` and `entropy`, before their weights.

        Args:
            answer: logits of the upper branch for the images `upper_on`, of the lower one for `lower_on`.
            batch: its `label`, and its `full` and `weak` where it has them, are used.
            teacher_logits: not used.

        Raises:
            ValueError: shapes disagree.
        """
        rows = rows_of(batch)
        upper = partial(rows.take, answer.upper, of=self.upper_on)
        lower = partial(rows.take, answer.lower, of=self.lower_on)
        weak = partial(rows.take, weak_labels(batch))
        full = rows.take(batch["label"], "full")
        terms = {"strong": label_loss(upper("full"), full, dice=self.dice)}
        if self.w_weak:
            terms["weak"] = self._weak(lower, weak)
        if self.kd_weight:
            terms["kd"] = self._kd(upper(self.kd_on), lower(self.kd_on))
        if self.w_ent:
            terms[self.confident] = self._confidence(lower)
        weights = {"strong": 1.0, "weak": self.w_weak, "kd": self.kd_weight, self.confident: self.w_ent}
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def _weak(self, lower: ByPart, weak: ByPart) -> Tensor:
        """Partial cross-entropy of the lower branch."""
        parts = PARTS_OF[self.weak_on] if self.settings.means == "apart" else (self.weak_on,)
        return torch.stack(
            [partial_cross_entropy(lower(part), counted(weak(part), self.settings)) for part in parts]
        ).sum()

    def _kd(self, upper: Tensor, lower: Tensor) -> Tensor:
        """Divergence of the lower branch from the upper one."""
        return mean(divergence(upper, lower, self.temperature, self.settings))

    def _confidence(self, lower: ByPart) -> Tensor:
        """Shannon entropy of the lower branch."""
        settings = self.settings
        classes = 1 if settings.reduction == "sum" else lower(self.ent_on).shape[1]
        if settings.full_counts == 1:
            return mean(prediction_entropy(lower(self.ent_on))) / classes
        counts = {"full": settings.full_counts, "weak": 1}
        return (
            weighted_mean((prediction_entropy(lower(part)), counts[part]) for part in PARTS_OF[self.ent_on])
            / classes
        )
