"""Which cases to learn from in an epoch: those of which teacher and student are sure enough for their class.

Tang et al., "Distribution shift matters for knowledge distillation with webly collected images" (KD3, ICCV
2023, arXiv 2307.11469), after the code its authors released. Of a mask, it is the dominant class that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from meddistill.errors import ConfigError, RunError
from meddistill.exclusion.dominant import dominant_class
from meddistill.exclusion.dynamic_threshold import relative_frequency, threshold
from meddistill.losses.checks import check_count, check_fraction, wide
from meddistill.pacing import SigmoidRamp


@dataclass(kw_only=True, eq=False)
class DynamicSelection:
    """Weighs a case 1 where its confidence is above tau A_c / (2 - A_c), else 0.

    Asked are the logits a(e) z_T + (1 - a(e)) z_S, with a(e) = 1 - exp(-5 ((e + 1) / epochs - 1)^2) in the
    epochs e before `until` and 0 from then on: first the teacher, then more and more the student. A_c is how
    often cases of class c were selected in the last epoch, over how often those of the most selected class
    were; 1 for all at first.

    Args:
        tau: what the most selected class needs, 0..1.
        epochs: over which the teacher's say fades; None for the length of the training. KD3 has 160.
        until: epoch from which the student decides alone; None for three quarters of `epochs`, as in KD3.

    Raises:
        ConfigError: an option is out of range.

    Example:
        >>> selection = DynamicSelection(epochs=160)
        >>> shares = []
        >>> for epoch in (0, 79, 119, 120):
        ...     selection.on_epoch_start(epoch)
        ...     shares.append(round(selection.status()["teacher_share"], 4))
        >>> shares
        [0.9928, 0.7135, 0.2684, 0.0]
    """

    tau: float = 0.95
    epochs: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        check_fraction("dynamic.tau", self.tau)
        if self.epochs is not None:
            check_count("dynamic.epochs", self.epochs)
        whole = isinstance(self.until, int) and not isinstance(self.until, bool)
        if self.until is not None and not (whole and 0 <= self.until <= (self.epochs or self.until)):
            raise ConfigError(
                f"dynamic.until must be an epoch from 0 to dynamic.epochs ({self.epochs}), got {self.until!r}"
            )
        self._length = self.epochs
        self._share = 1.0
        self._frequency: Tensor | None = None
        self._tally: Tensor | None = None

    def prepare(self, epochs: int) -> None:
        """Start anew, in a training of so many epochs."""
        self._length = self.epochs or epochs
        self._frequency = self._tally = None

    def on_epoch_start(self, epoch: int) -> None:
        """Set a(epoch), and A from what was selected since it was set last.

        Raises:
            ValueError: no length is given and `prepare` was not called.
            RunError: a whole epoch has passed and nothing has ever been selected.
        """
        if self._length is None:
            raise ValueError("call prepare first, or give dynamic.epochs")
        until = self._length * 3 // 4 if self.until is None else self.until
        self._share = 1 - SigmoidRamp(self._length)(epoch + 1) if epoch < until else 0.0
        if self._tally is None:
            return
        if bool(self._tally[:-1].any()):
            self._frequency = relative_frequency(self._tally[:-1])
        elif self._frequency is None and bool(self._tally[-1]):
            raise RunError(
                f"method.dynamic: no case was confident enough to be selected before epoch {epoch}; lower "
                f"dynamic.tau ({self.tau}), or leave dynamic out"
            )
        self._tally = None

    @torch.no_grad()
    def weigh(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """1 or 0 for each case (B,), in float32.

        What is selected counts for the next epoch where the student can learn from it.

        Args:
            student_logits: (B, K, *S).
            teacher_logits: same shape.
        """
        mixed = self._share * wide(teacher_logits) + (1 - self._share) * wide(student_logits)
        classes, confidence = dominant_class(mixed.softmax(1))
        if self._frequency is not None:
            self._frequency = self._frequency.to(mixed.device)
        frequency = mixed.new_ones(mixed.shape[1]) if self._frequency is None else self._frequency
        chosen = (confidence > threshold(frequency, self.tau)[classes]).float()
        if student_logits.requires_grad:
            self._count(classes, chosen, mixed.shape[1])
        return chosen

    def status(self) -> Mapping[str, float]:
        """`kept`, the share of the cases selected in this epoch, and `teacher_share`, a(e)."""
        tally = [0.0] if self._tally is None else self._tally.tolist()
        return {"kept": sum(tally[:-1]) / max(tally[-1], 1.0), "teacher_share": self._share}

    def state_dict(self) -> dict[str, Any]:
        """The length of the training, A, and what this epoch has counted, as plain numbers."""
        return {
            "length": self._length,
            "frequency": None if self._frequency is None else self._frequency.tolist(),
            "tally": None if self._tally is None else self._tally.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._length = state["length"]
        self._frequency, self._tally = (
            None if state[name] is None else torch.tensor(state[name]) for name in ("frequency", "tally")
        )

    def _count(self, classes: Tensor, chosen: Tensor, num_classes: int) -> None:
        """Add the selected cases of each class, and all cases, over all processes."""
        added = chosen.new_zeros(num_classes).scatter_add(0, classes, chosen)
        added = torch.cat([added, added.new_full((1,), len(classes))])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(added)
        self._tally = added if self._tally is None else self._tally.to(added.device) + added
