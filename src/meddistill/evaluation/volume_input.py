"""How a student takes volumes: slice by slice, patch by patch, or resized as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from meddistill.data.resize import INTERPOLATIONS, Interpolation
from meddistill.data.sources.scan import check_choice
from meddistill.data.volumes.normalise import Normalisation
from meddistill.errors import ConfigError, RunError
from meddistill.evaluation.inference import Network
from meddistill.evaluation.tiling import ByPatches, BySlices, Resized, VolumePredictor

Way = Literal["slices", "patches", "whole"]


@dataclass(frozen=True)
class VolumeInput:
    """What a student of volumes was trained on, and so how it must see new ones.

    Args:
        by: `slices` (a 2D network), `patches` (3D, sliding window) or `whole` (3D, the volume resized).
        size: of what the network saw in training.
        interpolation: how slices or whole volumes were resized to it.
        axis: for slices, the axis that is cut.

    Raises:
        ConfigError: an unknown way, or a size that does not suit it.

    Example:
        >>> type(VolumeInput("patches", (32, 32, 32)).predictor(lambda image: image)).__name__
        'ByPatches'
    """

    by: Way
    size: tuple[int, ...]
    interpolation: Interpolation = "area"
    axis: int = 0

    def __post_init__(self) -> None:
        check_choice("the way to take volumes", self.by, get_args(Way))
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        dims = 2 if self.by == "slices" else 3
        if len(self.size) != dims or self.axis not in range(3):
            raise ConfigError(
                f"volumes taken by {self.by} need {dims} sizes and an axis of 0 to 2, not {self.size} and "
                f"{self.axis!r}"
            )

    def predictor(self, network: Network, *, batch_size: int = 8) -> VolumePredictor:
        """`network` for whole volumes.

        Args:
            network: as it was trained.
            batch_size: slices at a time; patches are taken one at a time, they are large enough.
        """
        if self.by == "slices":
            return BySlices(network, self.size, self.interpolation, self.axis, batch_size)
        if self.by == "patches":
            return ByPatches(network, self.size)
        return Resized(network, self.size, self.interpolation)


@dataclass(frozen=True)
class VolumeReading:
    """What a run folder says of volumes: how files become images, and how the student takes these.

    Args:
        how: what the student was trained on.
        normalisation: of the intensities of each volume.
    """

    how: VolumeInput
    normalisation: Normalisation

    def to_json(self) -> dict[str, Any]:
        """Plain values for `model.json`, below `volumes`; size and interpolation stand there already."""
        return {
            "by": self.how.by,
            "axis": self.how.axis,
            "normalise": self.normalisation.kind,
            "window": self.normalisation.window,
        }

    @classmethod
    def from_json(cls, model: Mapping[str, Any], where: Path) -> VolumeReading | None:
        """What the content of `model.json` says; None for a student of images.

        Args:
            model: the content.
            where: its file, for the message.

        Raises:
            RunError: it says something of volumes that nobody can follow.

        Example:
            >>> said = {"size": [8, 8], "interpolation": "area", "volumes": {"by": "slices"}}
            >>> VolumeReading.from_json(said, Path("model.json")).to_json()["normalise"]
            'percentiles'
        """
        said = model.get("volumes")
        if said is None:
            return None
        try:
            window = said.get("window")
            normalisation = Normalisation(
                said.get("normalise", "percentiles"), None if window is None else tuple(window)
            )
            size = tuple(model["size"])
            how = VolumeInput(said["by"], size, model["interpolation"], said.get("axis", 0))
        except (ConfigError, AttributeError, KeyError, TypeError) as error:
            raise RunError(f"{where} does not say how volumes were read: {error}") from error
        return cls(how, normalisation)
