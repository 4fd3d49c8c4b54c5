"""Sources whose labels speak of the whole image, from their sections of a recipe."""

from __future__ import annotations

from pathlib import Path

from meddistill.config.schema import ClassFolderSourceConfig, MedMnistSourceConfig, TableSourceConfig
from meddistill.data import ClassFolderSource, MedMnistSource, TableSource
from meddistill.data.case import Source

ImageLabelConfig = ClassFolderSourceConfig | TableSourceConfig | MedMnistSourceConfig


def build_image_labels(config: ImageLabelConfig) -> Source:
    """The source that the section names.

    Raises:
        DataError: the folder or file cannot be used.
        ConfigError: options that contradict each other.
    """
    options = config.model_dump(exclude={"kind"}, exclude_none=True)
    for key in ("class_names", "labels", "leave_out"):
        if key in options:
            options[key] = tuple(options[key])
    if isinstance(config, ClassFolderSourceConfig):
        return ClassFolderSource(Path(options.pop("root")), **options)
    if isinstance(config, MedMnistSourceConfig):
        return MedMnistSource(Path(options.pop("file")), **options)
    if "root" in options:
        options["root"] = Path(options["root"])
    return TableSource(Path(options.pop("file")), **options)
