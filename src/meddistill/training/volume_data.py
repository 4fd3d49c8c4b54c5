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

_SOURCES: dict[type[VolumeOptions], type[VolumeSource]] = {
    VolumesSourceConfig: VolumeFolderSource,
    DicomSourceConfig: DicomSource,
    NnUNetSourceConfig: NnUNetSource,
    DecathlonSourceConfig: DecathlonSource,
}


def build_volumes(config: VolumeOptions) -> Source:
    """The source of volumes that `config` describes, or of their slices.

    Raises:
        DataError: the folder cannot be used.
        ConfigError: options that do not go together.
    """
    options = config.model_dump(exclude={"kind", "root", "slices", "window"})
    window = None if config.window is None else (config.window[0], config.window[1])
    volumes = _SOURCES[type(config)](Path(config.root), window=window, **options)
    return SliceSource(volumes) if config.slices else volumes
