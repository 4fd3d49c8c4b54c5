"""From the source section of a recipe to a source of volumes or of their slices."""

from __future__ import annotations

from pathlib import Path

from meddistill.config.schema import (
    DecathlonSourceConfig,
    DicomSourceConfig,
    NnUNetSourceConfig,
    VolumeOptions,
    VolumesSourceConfig,
)
from meddistill.data import DecathlonSource, DicomSource, NnUNetSource, SliceSource, VolumeFolderSource
from meddistill.data.case import Source
from meddistill.data.sources.volume import VolumeSource
from meddistill.errors import ConfigError

_SOURCES: dict[type[VolumeOptions], type[VolumeSource]] = {
    VolumesSourceConfig: VolumeFolderSource,
    DicomSourceConfig: DicomSource,
    NnUNetSourceConfig: NnUNetSource,
    DecathlonSourceConfig: DecathlonSource,
}


def build_volumes(config: VolumeOptions, *, where: str = "data.source") -> Source:
    """The source of volumes that `config`, the section `where` of a recipe, describes, or of their slices.

    Raises:
        DataError: the folder cannot be used.
        ConfigError: options that do not go together.
    """
    if config.axis and not config.slices:
        raise ConfigError(f"{where}.axis is the axis that slices cut; give slices: true too, or leave it out")
    options = config.model_dump(exclude={"kind", "root", "slices", "axis", "window"})
    window = None if config.window is None else (config.window[0], config.window[1])
    volumes = _SOURCES[type(config)](Path(config.root), window=window, **options)
    return SliceSource(volumes, config.axis) if config.slices else volumes
