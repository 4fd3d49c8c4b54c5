"""Folders of NIfTI files with equal names: `images/`, `labels/` and perhaps `scribbles/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meddistill.data.case import Case
from meddistill.data.sources.scan import listed
from meddistill.data.sources.volume import VolumeSource
from meddistill.data.volumes.nifti import is_nifti, strip_nifti
from meddistill.errors import DataError


@dataclass(frozen=True)
class VolumeFolderSource(VolumeSource):
    """Volumes `images/<name>.nii.gz` (or `.nii`), `labels/<name>` and, as weak labels, `scribbles/<name>`.

    Only names are looked at here; headers are compared by `check_files`, before any training.

    Raises:
        DataError: there are no images, a label has no image, an image has no label (unless allowed), two
            files share a name, or a name does not match `group_pattern`.
        ConfigError: an argument is out of range, or `classes` is missing.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from meddistill.data.volumes import Geometry, write_volume
        >>> root = Path(tempfile.mkdtemp())
        >>> grid = Geometry.from_affine(np.eye(4), (2, 1, 3))
        >>> values = np.array([[[0, 1, 2]], [[3, 3, 4]]])
        >>> for folder in ("images", "labels"):
        ...     write_volume(root / folder / "patient7_ed.nii.gz", values, grid)
        >>> classes = {"background": [0, 1, 2], "ventricle": 3}
        >>> source = VolumeFolderSource(root, classes=classes, ignore_value=4, group_pattern="^[a-z]+[0-9]+")
        >>> case = source.cases[0]
        >>> case.id, case.group, source.read_label(case).tolist()
        ('patient7_ed', 'patient7', [[[0, 0, 0]], [[1, 1, -100]]])
    """

    def _scan(self) -> Iterator[Case]:
        images, labels, weak = (named_volumes(self.root / name) for name in ("images", "labels", "scribbles"))
        lone = [path for found in (labels, weak) for name, path in found.items() if name not in images]
        if lone:
            raise DataError(f"label without image: {listed(lone)}; add the image or remove the label")
        for name, image in sorted(images.items()):
            label = labels.get(name)
            yield Case(name, image, () if label is None else (label,), weak=weak.get(name))


def named_volumes(folder: Path) -> dict[str, Path]:
    """The NIfTI files in `folder` and below by name, without ending; none when there is no such folder.

    Raises:
        DataError: two files differ in their ending alone.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not is_nifti(path) or any(part.startswith(".") for part in relative.parts):
            continue
        name = strip_nifti(relative.as_posix())
        if name in found:
            raise DataError(f"{path}: {found[name].name} has the same name; remove one of them")
        found[name] = path
    return found
