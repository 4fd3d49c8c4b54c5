"""The seam between a way to train a student and whatever loop runs it.

A method is an ordinary object: it gets the student's answer, the batch and (where it needs one) the teacher's
logits, and returns its loss with the named terms. It never sees a trainer, a device or a file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from meddistill.exclusion import Rule


class Batch(TypedDict):
    """What a data loader yields.

    `image` (B, C, *S) float in 0..1, `label` (B, *S) int64 with `IGNORE_INDEX` where unknown (of whole images
    (B,), or (B, L) with 0 and 1 for labels that do not exclude each other), `index` (B,)
    position of each case in its data set, `case_id` B names, `teacher_logits` (B, K, *S) when they were
    stored beforehand, (B, M, K, *S) for a method that needs those of each member. Under mixed supervision
    also `full` (B,) bool, true for cases whose label is complete, and `weak` (B, *S) int64, a weak label of
    every case; `label` of the others is then their weak label.
    `full_rows` and `weak_rows` are the positions of both kinds where `with_rows` has looked for them.
    """

    image: Tensor
    label: Tensor
    index: Tensor
    case_id: list[str]
    teacher_logits: NotRequired[Tensor]
    full: NotRequired[Tensor]
    weak: NotRequired[Tensor]
    full_rows: NotRequired[Tensor | slice]
    weak_rows: NotRequired[Tensor | slice]


@dataclass(frozen=True)
class Context:
    """What a method may look at before training.

    Args:
        num_classes: K, background included.
        epochs: length of the training.
        teacher_batches: a callable that starts a new pass over the *training* split, yielding (teacher logits
            (B, K, *S), labels (B, *S)) without augmentation; None when there is no teacher.
        teacher_temperature: temperature fitted on the calibration split, or None when nothing was fitted.
        labels: a callable that starts a new pass over the labels (B, *S) of the training split; None when
            nobody can tell them.
        seed: of the training, for methods that draw something of their own.
    """

    num_classes: int
    epochs: int
    teacher_batches: Callable[[], Iterable[tuple[Tensor, Tensor]]] | None = None
    teacher_temperature: float | None = None
    seed: int = 0
    labels: Callable[[], Iterable[Tensor]] | None = None

    def passes(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the teacher's logits and labels of the training split.

        Raises:
            ValueError: the context holds no teacher.
        """
        if self.teacher_batches is None:
            raise ValueError("this method needs a teacher: give the context teacher_batches")
        yield from self.teacher_batches()


class Method(ABC):
    """A way to train a student. Subclasses are called with its answer and return `{"loss": ..., term: ...}`.

    `needs_teacher` tells the loop whether teacher logits must be supplied; `needs_teacher_temperature`
    whether the loop should fit one on the calibration split and pass it in the context; `needs_members`
    whether the logits are those of each member of an ensemble, (B, M, K, *S). `needs_labels` is False where
    the labels of the training images are never looked at, and `rules` are then those by which cases with poor
    masks are left out. `answers_images` is True where it also learns from labels of whole images: logits
    (B, K) and labels (B,), or (B, K) for labels that do not exclude each other. `form` says how networks are
    arranged round the student, see `models.forms`. A step is `answer`, the call, backward and the optimiser,
    then `after_step`.
    """

    needs_teacher: bool = False
    needs_labels: bool = True
    needs_members: bool = False
    answers_images: bool = False
    rules: tuple[Rule, ...] = ()
    form: str = "single"

    @property
    def needs_teacher_temperature(self) -> bool:
        """True when the method was built with a temperature of `"calibrate"`."""
        return False

    def prepare(self, context: Context) -> None:  # noqa: B027 - most methods have nothing to prepare
        """Fit thresholds and the like, once, before the first epoch."""

    def on_epoch_start(self, epoch: int) -> None:  # noqa: B027 - most methods keep no pace
        """Move the pacing to `epoch` (0-based); must depend on it alone, so that a resumed run agrees."""

    def answer(self, student: Any, batch: Batch) -> Any:
        """What the student says to a batch: its logits (B, K, *S), unless the method asks for more."""
        return student(batch["image"])

    @abstractmethod
    def __call__(
        self, answer: Any, /, batch: Batch, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The scalar `loss` (with gradient) and its named scalar terms (detached)."""

    def after_step(self, student: Any) -> None:  # noqa: B027 - most methods leave it to the optimiser
        """What follows a step of the optimiser, such as moving an averaged teacher."""

    def status(self) -> Mapping[str, float]:
        """Numbers worth a curve in the report, for example `{"threshold": 0.62}`; read once per epoch."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What `prepare` found out, as plain numbers, so that a resumed run need not prepare again."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - stateless by default
        """Restore what `state_dict` returned."""
