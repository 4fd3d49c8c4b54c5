"""What every teacher is: frozen, always in evaluation mode, from an image in 0..1 to float32 logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from meddistill.errors import ConfigError, TeacherError
from meddistill.teachers.accuracy import Check, ScoreTally
from meddistill.teachers.fingerprint import json_digest

UNKNOWN = -1e4
"""Logit of a class that a member of an ensemble does not know: finite, so that maps can be interpolated."""


class BaseTeacher(nn.Module, ABC):
    """What `Teacher` and `Ensemble` share.

    Called with an image (B, C, *S) in 0..1, a teacher returns float32 logits without a graph: (B, K, *S) at
    the image's size, or (B, K) from a network that answers once per image. It is frozen when it is made and
    stays in evaluation mode whatever `train()` says.

    A subclass implements the abstract methods and calls `freeze` when it is complete.

    Attributes:
        name: what messages and reports call it.
        num_classes: K of the logits, background included.
        class_names: name of each class, in the order of the logits; empty when unknown.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]

    @abstractmethod
    def compute(self, image: Tensor) -> Tensor:
        """The logits, computed under `torch.inference_mode()`; callers use the teacher itself."""

    @abstractmethod
    def check_channels(self, given: int) -> None:
        """Refuse images whose number of channels cannot be taken.

        Raises:
            TeacherError: they cannot.
        """

    @abstractmethod
    def weights_digest(self) -> str:
        """SHA-256 over everything learnt and the structure of the networks."""

    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """Plain values: everything else that the logits depend on."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Plain values for manifests and reports: at least `name`, `kind`, `parameters` and `class_names`."""

    @property
    @abstractmethod
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks that compute."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the teacher computes."""

    @property
    def teachers(self) -> list[BaseTeacher]:
        """The members of an ensemble, in order; a lone teacher itself."""
        return [self]

    @property
    def known(self) -> tuple[bool, ...]:
        """For each class, whether the teacher knows it."""
        return (True,) * self.num_classes

    def freeze(self) -> None:
        """Let nothing be trained."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature of nn.Module
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32, of an image (B, C, *S) in 0..1. They can take part in a loss.

        Raises:
            TeacherError: the channels do not fit, or the network answers with another number of classes.
        """
        with torch.inference_mode():
            logits = self.compute(image)
        return logits.clone()

    def answers(self, image: Tensor) -> Tensor:
        """The logits of each member (B, M, K, *S), float32; `UNKNOWN` for a class that it does not know.

        Raises:
            TeacherError: as of a call.
        """
        with torch.inference_mode():
            logits = self.compute_members(image)
        return logits.clone().movedim(0, 1).clamp(min=UNKNOWN)

    def compute_members(self, image: Tensor) -> Tensor:
        """The logits of each member (M, B, K, *S), computed under `torch.inference_mode()`."""
        return self.compute(image)[None]

    def joiner(self) -> Callable[[Tensor], Tensor]:
        """What makes one answer (B, K, *S) on the CPU out of those of the members (B, M, K, *S)."""
        return _only

    def check_fits(self, num_classes: int, in_channels: int) -> None:
        """Compare with the task, before any work is done.

        Raises:
            TeacherError: the teacher has another number of classes, does not know them all, or cannot take
                the images' channels.
        """
        if num_classes != self.num_classes:
            raise TeacherError(
                f"teacher {self.name!r} knows {self.num_classes} classes and the data have {num_classes}; "
                "give a teacher trained for these classes, or a class_map with one entry for each of them"
            )
        if not all(self.known):
            raise TeacherError(
                f"teacher {self.name!r} does not know class {self.known.index(False)} (null in its "
                f"class_map); join it in an ensemble with a teacher that does"
            )
        self.check_channels(in_channels)

    def fingerprint(self) -> dict[str, str]:
        """What the logits depend on, as two SHA-256: of the `weights` and of the `preprocessing`.

        The same teacher has the same fingerprint in every process and on every device.
        """
        return {"weights": self.weights_digest(), "preprocessing": json_digest(self.preprocessing())}

    def check(
        self, batches: Iterable[Mapping[str, Any]], *, num_classes: int, floor: float | None = None
    ) -> Check:
        """Score the teacher on labelled data before anybody learns from it.

        By mean foreground Dice, or by accuracy where it answers once per image, or by mean AUROC where that
        is about labels that do not exclude each other.

        Args:
            batches: mappings with `image` (B, C, *S) and `label` (B, *S), or for one answer per image (B,),
                or (B, K) with 0 and 1.
            num_classes: K of the data, background included.
            floor: score below which the teacher is refused; None refuses none.

        Raises:
            ConfigError: `floor` is not in 0..1.
            TeacherError: other classes, logits that are not finite, no labelled case, or a score below
                `floor`.
        """
        if floor is not None and not 0 <= floor <= 1:
            raise ConfigError(f"the teacher's floor is {floor!r}; give a score in 0..1")
        tally = ScoreTally(num_classes)
        for batch in batches:
            self.check_fits(num_classes, batch["image"].shape[1])
            logits = self(batch["image"].to(self.device))
            if not bool(logits.isfinite().all()):
                raise TeacherError(
                    f"teacher {self.name!r} answers with NaN or infinity; its weights are broken"
                )
            tally.update(logits, batch["label"].to(self.device))
        return tally.result(self.name, floor=floor, class_names=self.class_names)


def _only(answers: Tensor) -> Tensor:
    """The answer of the one member."""
    return answers[:, 0]
