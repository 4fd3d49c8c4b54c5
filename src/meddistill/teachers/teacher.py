"""A frozen network that maps an image to logits, whatever it was trained to expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.errors import ConfigError, TeacherError
from meddistill.models.adapter import first_output
from meddistill.teachers.check import DiceTally, TeacherCheck


class Teacher(nn.Module):
    """Wraps a network: normalises the image, adapts its channels and size, and orders the classes.

    The network is frozen in place and stays in evaluation mode whatever `train()` says. Called with an image
    (B, C, *S) in 0..1 it returns logits (B, K, *S) in float32 at the image's size, without a graph.

    Args:
        network: maps (B, C, *S) to logits, see `meddistill.models.adapter.first_output` for several outputs.
        name: what to call it in messages and reports; its class by default.
        in_channels: channels that the network takes. A network of 3 accepts grey images, which are repeated.
        num_classes: K, background included.
        mean: subtracted from the image, one value for each channel of the network (or one for all).
        std: the image is then divided by it, likewise.
        size: size that the image is brought to for the network (linear interpolation); None keeps it.
        class_names: name of each class, in the order of the logits that the teacher returns.
        class_map: for each class of the data, the index of the network's class; None when they agree.
        dtype: lower precision to run in (`torch.bfloat16`, `torch.float16`); None keeps that of the network.

    Raises:
        TeacherError: an argument that contradicts the others.

    Example:
        >>> teacher = Teacher(nn.Conv2d(3, 2, 1), in_channels=3, mean=[0.5], std=[0.25])
        >>> teacher(torch.rand(1, 1, 4, 4)).shape, teacher.train().training
        (torch.Size([1, 2, 4, 4]), False)
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str | None = None,
        in_channels: int = 1,
        num_classes: int = 2,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: Sequence[int] | None = None,
        class_names: Sequence[str] = (),
        class_map: Sequence[int] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.name = name or type(network).__name__
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.size = None if size is None else tuple(size)
        self.class_names = tuple(class_names)
        self.class_map = None if class_map is None else list(class_map)
        self.dtype = dtype
        self.register_buffer("mean", self._per_channel("mean", mean, 0.0), persistent=False)
        self.register_buffer("std", self._per_channel("std", std, 1.0), persistent=False)
        if bool((self.get_buffer("std") <= 0).any()):
            raise TeacherError(f"teacher {self.name!r}: std is {std!r}; every value must be above 0")
        if self.class_map is not None and sorted(self.class_map) != list(range(num_classes)):
            raise TeacherError(
                f"teacher {self.name!r}: class_map {self.class_map} does not name each class "
                f"0..{num_classes - 1} once"
            )
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature of nn.Module
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the teacher computes."""
        return self.get_buffer("mean").device

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *S), float32, of an image (B, C, *S) in 0..1.

        Raises:
            TeacherError: the channels do not fit, or the network answers with another number of classes.
        """
        size = image.shape[2:]
        prepared = self._prepare(image)
        with torch.autocast(image.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            output = self.network(prepared)
        logits = self._first_logits(output, len(size)).float()
        if logits.shape[2:] != size:
            logits = _resize(logits, size)
        return logits if self.class_map is None else logits[:, self.class_map]

    def check_fits(self, num_classes: int, in_channels: int) -> None:
        """Compare with the task, before any work is done.

        Raises:
            TeacherError: the teacher has another number of classes, or cannot take the images' channels.
        """
        if num_classes != self.num_classes:
            raise TeacherError(
                f"teacher {self.name!r} knows {self.num_classes} classes and the data have {num_classes}; "
                "give a teacher trained for these classes"
            )
        self._check_channels(in_channels)

    def check(
        self, batches: Iterable[Mapping[str, Any]], *, num_classes: int, floor: float | None = None
    ) -> TeacherCheck:
        """Score the teacher on labelled data before anybody learns from it.

        Args:
            batches: mappings with `image` (B, C, *S) and `label` (B, *S).
            num_classes: K of the data, background included.
            floor: mean foreground Dice below which the teacher is refused; None refuses none.

        Raises:
            ConfigError: `floor` is not in 0..1.
            TeacherError: other classes, logits that are not finite, no labelled case, or a score below
                `floor`.
        """
        if floor is not None and not 0 <= floor <= 1:
            raise ConfigError(f"the teacher's floor is {floor!r}; give a Dice in 0..1")
        tally = DiceTally(num_classes)
        for batch in batches:
            self.check_fits(num_classes, batch["image"].shape[1])
            logits = self(batch["image"].to(self.device))
            if not bool(logits.isfinite().all()):
                raise TeacherError(
                    f"teacher {self.name!r} answers with NaN or infinity; its weights are broken"
                )
            tally.update(logits.argmax(dim=1), batch["label"].to(self.device))
        return tally.result(self.name, floor=floor)

    def _prepare(self, image: Tensor) -> Tensor:
        self._check_channels(image.shape[1])
        if image.shape[1] != self.in_channels:
            image = image.expand(-1, self.in_channels, *image.shape[2:])
        axes = (1, -1, *(1,) * (image.ndim - 2))
        image = (image - self.get_buffer("mean").view(axes)) / self.get_buffer("std").view(axes)
        if self.size is not None and image.shape[2:] != self.size:
            image = _resize(image, self.size)
        return image

    def _check_channels(self, given: int) -> None:
        if given != self.in_channels and not (given == 1 and self.in_channels == 3):
            raise TeacherError(
                f"teacher {self.name!r} takes {self.in_channels} channels and the images have {given}; "
                "only grey images can be given to a network of 3"
            )

    def _first_logits(self, output: Any, dims: int) -> Tensor:
        try:
            logits = first_output(output, dims)
        except ConfigError as error:
            raise TeacherError(f"teacher {self.name!r}: {error}") from error
        if logits.ndim != dims + 2 or logits.shape[1] != self.num_classes:
            raise TeacherError(
                f"teacher {self.name!r} answers with shape {tuple(logits.shape)}, not "
                f"(B, {self.num_classes}, *S); give the num_classes that it was trained with"
            )
        return logits

    def _per_channel(self, what: str, values: Sequence[float] | None, default: float) -> Tensor:
        tensor = torch.tensor([default] if values is None else list(values), dtype=torch.float32)
        if len(tensor) not in (1, self.in_channels) or not bool(tensor.isfinite().all()):
            raise TeacherError(
                f"teacher {self.name!r}: {what} is {values!r}; give one finite value for each of its "
                f"{self.in_channels} channels"
            )
        return tensor


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[values.ndim - 2]
    return F.interpolate(values, size=tuple(size), mode=mode, align_corners=False)
