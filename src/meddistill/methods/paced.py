"""Paced-curriculum distillation.

P-CD of Islam et al. 2023, "Paced-Curriculum Distillation with Prediction and Label Uncertainty for Image
Segmentation".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from meddistill.errors import RunError
from meddistill.losses import IGNORE_INDEX, cross_entropy, kl_divergence, masked_mean
from meddistill.methods.base import Batch, Context, Method
from meddistill.methods.checks import require_teacher, term_weights
from meddistill.methods.pcd_curriculum import CurriculumState, hard_mask, paces, soft_weight, survey
from meddistill.methods.pcd_options import PacedOptions
from meddistill.pacing import Pacing


class PacedDistillation(PacedOptions, Method):
    """L = mean_i v_i u_i (c_i^k k_i + c_i^e e_i): easy pixels first, all of them in the end.

    k_i is the tempered divergence from the teacher and e_i the cross-entropy at pixel i. The confidence mask
    v_i = [p_i >= mu] (TPL) asks for the teacher's confidence in the true class, the boundary mask u_i =
    [q_i >= mu] (BU) for the certainty of the label, and the soft weight c_i = 1 where p_i >= mu', else a
    floor (CPL); each mode uses some of them, and `weights_to` says which of the two terms c acts on. mu
    starts where the share `beta` of the training pixels passes and falls to 0 at the fraction `gamma` of
    the training.

    The options and their defaults are those of `PacedOptions`. `prepare` makes one pass over the teacher's
    logits; afterwards the method depends on the epoch alone.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[0.0, 2.0], [0.0, 1.0], [0.0, 0.5], [0.0, 0.1]])
        >>> labels = torch.ones(4, dtype=torch.long)
        >>> method = PacedDistillation(mode="tpl", confidence_temperature=1.0, beta=0.5, gamma=1.0, every=1)
        >>> method.prepare(Context(num_classes=2, epochs=2, teacher_batches=lambda: [(teacher, labels)]))
        >>> dict(method.status())
        {'threshold': 0.622, 'share_in_use': 0.75}
        >>> method.on_epoch_start(3)
        >>> method.status()["threshold"]
        0.0
    """

    needs_teacher = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._state: CurriculumState | None = None
        self._epoch = 0
        self._paces: dict[str, Pacing] = {}
        self._thresholds: dict[str, float] = {}

    @property
    def needs_teacher_temperature(self) -> bool:
        """True when the confidence temperature is to be fitted on the calibration split."""
        return self.own_temperature == "calibrate"

    def prepare(self, context: Context) -> None:
        """Rank the teacher's confidences on the training split and set the first thresholds.

        Raises:
            ConfigError: a fitted temperature is asked for, but the context has none.
            TeacherError: the teacher has another number of classes, or its logits are not finite.
            DataError: no pixel of the training split has a label.
        """
        self._take(survey(self, context))

    def on_epoch_start(self, epoch: int) -> None:
        """Move the thresholds to `epoch` (0-based)."""
        self._epoch = epoch
        self._thresholds = {name: pace.threshold(epoch) for name, pace in self._paces.items()}

    def __call__(
        self, student_logits: Tensor, batch: Batch, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`loss` and its terms `kd` and `ce`, masked and weighted by pixel, before the weights of alpha.

        Args:
            student_logits: (B, K, *S).
            batch: its `label` (B, *S) is used.
            teacher_logits: (B, K, *S).

        Raises:
            ValueError: shapes disagree, or there are no teacher logits.
            TeacherError: the teacher has another number of classes.
            RunError: `prepare` was not called.
        """
        if self._state is None:
            raise RunError("paced distillation has no thresholds yet: call prepare(context) before training")
        teacher, labels = require_teacher(student_logits, teacher_logits), batch["label"]
        k = kl_divergence(
            student_logits,
            teacher,
            temperature=self.temperature,
            class_reduction=self.settings.class_reduction,
        )
        e = cross_entropy(student_logits, labels)

        mask = soft = self._hard(teacher, labels, self._thresholds.get("threshold", 0.0))
        if self.parts.soft_weight:
            soft = mask * self._soft(teacher, labels, self._thresholds["cpl_threshold"])
        valid = labels != IGNORE_INDEX
        kd = masked_mean(k, mask if self.weights_to == "ce" else soft, valid, normalise=self.normalise)
        ce = masked_mean(e, mask if self.weights_to == "kld" else soft, valid, normalise=self.normalise)
        kd_weight, ce_weight = term_weights(self.alpha)
        return {"loss": kd_weight * kd + ce_weight * ce, "kd": kd.detach(), "ce": ce.detach()}

    def status(self) -> Mapping[str, float]:
        """`threshold` and `cpl_threshold` where the mode has them, and `share_in_use`.

        That is the share of the training pixels that the hard masks let in; in mode "cpl", that have full
        weight.
        """
        if self._state is None:
            return {}
        shares = self._state["shares"]
        return {**self._thresholds, "share_in_use": shares[min(self._epoch, len(shares) - 1)]}

    def state_dict(self) -> dict[str, Any]:
        """What `prepare` measured, as plain numbers; empty before."""
        return {} if self._state is None else dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `prepare` measured in an earlier run, so that it need not be called again.

        Raises:
            RunError: the state does not hold it.
        """
        try:
            self._take(
                CurriculumState(
                    confidence_temperature=state["confidence_temperature"],
                    epochs=state["epochs"],
                    starts=state["starts"],
                    shares=state["shares"],
                )
            )
        except KeyError as error:
            raise RunError(
                f"the saved state of paced distillation has no {error}: start the run afresh"
            ) from error

    def _take(self, state: CurriculumState) -> None:
        self._state = state
        temperature = state["confidence_temperature"]
        self._hard, self._soft = hard_mask(self, temperature), soft_weight(self, temperature)
        self._paces = paces(self, state["starts"], state["epochs"])
        self.on_epoch_start(0)
