"""What the sources with a `dataset.json` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from meddistill.data.sources.description import Description
from meddistill.data.sources.volume import VolumeSource
from meddistill.data.volumes.classes import Classes


@dataclass(frozen=True)
class DescribedSource(VolumeSource):
    """A source whose `dataset.json` names the channels and the classes; `classes` given here comes first."""

    @cached_property
    def description(self) -> Description:
        """The `dataset.json`."""
        return Description.read(self.root)

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.description.channels

    def _meanings(self) -> tuple[Classes, int | None]:
        if self.classes is not None:
            return self.classes, self.ignore_value
        ignore = self.description.ignore if self.ignore_value is None else self.ignore_value
        return self.description.classes(), ignore
