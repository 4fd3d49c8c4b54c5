"""Raw data of nnU-Net: `imagesTr/<case>_0000.nii.gz`, `labelsTr/<case>.nii.gz` and `dataset.json`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meddistill.data.case import Case
from meddistill.data.sources.described import DescribedSource
from meddistill.data.sources.scan import image_of, listed
from meddistill.data.sources.volume_folder import named_volumes
from meddistill.data.volumes.nifti import ENDINGS
from meddistill.errors import DataError

_CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")


@dataclass(frozen=True)
class NnUNetSource(DescribedSource):
    """A folder of `nnUNet_raw`, version 2 (version 1 is read too).

    The channels `_0000`, `_0001`, ... of a case are stacked. Regions that overlap have no one class for each
    voxel and are refused; give `classes` instead. Images in `imagesTs` are cases without label, and only
    there with `unlabelled="allow"`.

    Raises:
        DataError: `dataset.json` is missing or malformed, a channel or a label is missing, a label has no
            image, or files are of another kind than NIfTI.
        ConfigError: an argument is out of range.
    """

    def channel_files(self, case: Case) -> tuple[Path, ...]:
        """The files of the channels, in their order."""
        first = image_of(case)
        stem, ending = first.name.split("_0000.", 1)
        return tuple(first.with_name(f"{stem}_{number:04}.{ending}") for number in range(self.in_channels))

    def _scan(self) -> Iterator[Case]:
        ending = self.description.content.get("file_ending", ENDINGS[0])
        if ending not in ENDINGS:
            raise DataError(
                f"{self.description.path}: file_ending {ending!r}: only {' and '.join(ENDINGS)} are read; "
                "convert the images to NIfTI"
            )
        images = self._images("imagesTr")
        labels = named_volumes(self.root / "labelsTr")
        lone = [path for name, path in labels.items() if name not in images]
        if lone:
            raise DataError(f"label without image: {listed(lone)}; add the image or remove the label")
        for name, image in images.items():
            yield Case(name, image, (labels[name],) if name in labels else ())
        if self.unlabelled == "allow":
            for name, image in self._images("imagesTs").items():
                if name in images:
                    raise DataError(f"{image}: {name} is in imagesTr too; rename one of them")
                yield Case(name, image)

    def _images(self, folder: str) -> dict[str, Path]:
        """The first channel of every case in `folder`; all others are made sure to be there."""
        found: dict[str, dict[int, Path]] = {}
        for name, path in named_volumes(self.root / folder).items():
            match = _CHANNEL.match(name)
            if match is None:
                raise DataError(f"{path}: the name does not end in a channel such as _0000; rename the file")
            found.setdefault(match["case"], {})[int(match["channel"])] = path
        for name, channels in found.items():
            if sorted(channels) != list(range(self.in_channels)):
                raise DataError(
                    f"{self.root / folder}: {name} has the channels {listed(sorted(channels))}, but "
                    f"dataset.json names {self.in_channels}; add or remove files"
                )
        return {name: found[name][0] for name in sorted(found)}
