"""A frozen network that maps an image to logits, whatever it was trained to expect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.errors import ConfigError, TeacherError
from meddistill.models.adapter import first_output
from meddistill.models.features import FeatureTap
from meddistill.teachers.base import BaseTeacher
from meddistill.teachers.class_map import ClassMap, map_logits, read_class_map, show_class_map
from meddistill.teachers.fingerprint import network_digest
from meddistill.teachers.standardise import Standardisation, check_standardisation, standardise


class Teacher(BaseTeacher):
    """Wraps a network: normalises the image, adapts its channels and size, and orders the classes.

    The network is frozen in place and stays in evaluation mode whatever `train()` says. Called with an image
    (B, C, *S) in 0..1 it returns logits in float32 without a graph: (B, K, *S) at the image's size, or (B, K)
    where the network answers once per image.

    Args:
        network: maps (B, C, *S) to logits, see `meddistill.models.adapter.first_output` for several outputs.
        name: what to call it in messages and reports; its class by default.
        kind: what it was made from, for reports.
        in_channels: channels that the network takes. A network of 3 accepts grey images, which are repeated.
        num_classes: classes of the network, background included.
        mean: subtracted from the image, one value for each channel of the network (or one for all).
        std: the image is then divided by it, likewise.
        standardise: what is done to each image by itself before that, see `Standardisation`.
        size: size that the image is brought to for the network (linear interpolation); None keeps it.
        class_names: name of each class, in the order of the logits that the teacher returns.
        class_map: for each class of the data the index of the network's class, several that are merged, or
            None for one that it does not know; None for the whole when they agree. The network's classes are
            used once each.
        dtype: lower precision to run in (`torch.bfloat16`, `torch.float16`); None keeps that of the network.

    Raises:
        TeacherError: an argument that contradicts the others.
        ConfigError: an unknown standardisation.

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
        kind: str = "network",
        in_channels: int = 1,
        num_classes: int = 2,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        standardise: Standardisation | None = None,
        size: Sequence[int] | None = None,
        class_names: Sequence[str] = (),
        class_map: ClassMap | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_standardisation(standardise)
        self.name = name or type(network).__name__
        self.kind = kind
        self.in_channels = in_channels
        self.network_classes = num_classes
        self.standardise = standardise
        self.size = None if size is None else tuple(size)
        self.class_names = tuple(class_names)
        self.class_map = read_class_map(class_map, num_classes, self.name)
        self.num_classes = num_classes if self.class_map is None else len(self.class_map)
        self.dtype = dtype
        self.register_buffer("mean", self._per_channel("mean", mean, 0.0), persistent=False)
        self.register_buffer("std", self._per_channel("std", std, 1.0), persistent=False)
        if bool((self.get_buffer("std") <= 0).any()):
            raise TeacherError(f"teacher {self.name!r}: std is {std!r}; every value must be above 0")
        self.network = network
        self.freeze()

    @property
    def device(self) -> torch.device:
        """Where the teacher computes."""
        return self.get_buffer("mean").device

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The network."""
        return (self.network,)

    @property
    def known(self) -> tuple[bool, ...]:
        """For each class of the data, whether the network knows it."""
        return super().known if self.class_map is None else tuple(map(bool, self.class_map))

    def compute(self, image: Tensor) -> Tensor:
        """The logits; minus infinity for classes that the network does not know."""
        size = image.shape[2:]
        prepared = self._prepare(image)
        with torch.autocast(image.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            output = self.network(prepared)
        logits = self._first_logits(output, len(size)).float()
        if logits.ndim > 2 and logits.shape[2:] != size:
            logits = _resize(logits, size)
        return logits if self.class_map is None else map_logits(logits, self.class_map)

    def check_channels(self, given: int) -> None:
        """Refuse images whose number of channels the network cannot take.

        Raises:
            TeacherError: it cannot.
        """
        if given != self.in_channels and not (given == 1 and self.in_channels == 3):
            raise TeacherError(
                f"teacher {self.name!r} takes {self.in_channels} channels and the images have {given}; "
                "only grey images can be given to a network of 3"
            )

    def weights_digest(self) -> str:
        """SHA-256 over the network's structure and tensors, or over the file of a program."""
        return network_digest(self.network)

    def preprocessing(self) -> dict[str, Any]:
        """Normalisation, channels, size, classes and precision, as plain values."""
        mean, std = (self.get_buffer(name).expand(self.in_channels).tolist() for name in ("mean", "std"))
        return {
            "in_channels": self.in_channels,
            "mean": mean,
            "std": std,
            "standardise": self.standardise,
            "size": None if self.size is None else list(self.size),
            "network_classes": self.network_classes,
            "class_map": None if self.class_map is None else show_class_map(self.class_map),
            "dtype": None if self.dtype is None else str(self.dtype).removeprefix("torch."),
        }

    def describe(self) -> dict[str, Any]:
        """Name, kind, parameters (None in a program without any), class names and `preprocessing`."""
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return {
            "name": self.name,
            "kind": self.kind,
            "parameters": parameters or None,
            "class_names": list(self.class_names),
            **self.preprocessing(),
        }

    def tap(self, paths: Iterable[str]) -> FeatureTap:
        """Record what submodules of the network put out, by their paths in it.

        Raises:
            ConfigError: an unknown path, or a network that has no submodules to look into.
        """
        return FeatureTap(self.network, paths)

    def _prepare(self, image: Tensor) -> Tensor:
        self.check_channels(image.shape[1])
        if image.shape[1] != self.in_channels:
            image = image.expand(-1, self.in_channels, *image.shape[2:])
        if self.standardise is not None:
            image = standardise(image, self.standardise)
        axes = (1, -1, *(1,) * (image.ndim - 2))
        image = (image - self.get_buffer("mean").view(axes)) / self.get_buffer("std").view(axes)
        if self.size is None or image.shape[2:] == self.size:
            return image
        if len(self.size) != image.ndim - 2:
            raise TeacherError(
                f"teacher {self.name!r} has the size {list(self.size)} and the images have {image.ndim - 2} "
                f"axes; give one number for each axis"
            )
        return _resize(image, self.size)

    def _first_logits(self, output: Any, dims: int) -> Tensor:
        try:
            logits = first_output(output, dims)
        except ConfigError as error:
            raise TeacherError(f"teacher {self.name!r}: {error}") from error
        if logits.ndim not in (2, dims + 2) or logits.shape[1] != self.network_classes:
            raise TeacherError(
                f"teacher {self.name!r} answers with shape {tuple(logits.shape)}, not "
                f"(B, {self.network_classes}, *S) or (B, {self.network_classes}); give the num_classes that "
                f"it was trained with"
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
