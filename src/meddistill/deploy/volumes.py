"""Label maps for a folder of volumes, on the volumes' own grids."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from meddistill.data.volumes import (
    Geometry,
    Normalisation,
    find_volumes,
    read_geometry,
    read_volume,
    write_volume,
)
from meddistill.data.volumes.nifti import strip_nifti
from meddistill.deploy.targets import is_mask, plan_targets
from meddistill.deploy.uncertainty_table import UncertaintyTable
from meddistill.errors import DataError
from meddistill.evaluation.tiling import label_map, whole_maps
from meddistill.evaluation.volume_input import VolumeReading
from meddistill.progress import track


def predict_volumes(
    network: nn.Module,
    reading: VolumeReading,
    folder: Path,
    output: Path,
    *,
    channels: int,
    batch_size: int,
    overwrite: bool,
    uncertainty: bool,
) -> list[Path]:
    """Write a label map for every volume of `folder`; see `meddistill.deploy.predict.predict`.

    Args:
        network: on the device where it shall run.
        reading: how it takes volumes.
        folder: NIfTI files and DICOM series, searched recursively.
        output: where to write.
        channels: of the images.
        batch_size: slices at a time.
        overwrite: replace label maps that are there.
        uncertainty: also write how uncertain the network is of each volume.

    Raises:
        RunError: files that are there already.
        DataError: no volumes, two with one name, or volumes that cannot be read; all others are done first.
        ConfigError: `output` is where the volumes are.
    """
    targets = plan_volumes(folder, output, overwrite=overwrite)
    table = UncertaintyTable(folder, output, overwrite=overwrite) if uncertainty else None
    predictor = reading.how.predictor(network, batch_size=batch_size)
    written: list[Path] = []
    problems: list[DataError] = []
    for path, target in track(list(targets.items()), "predicting"):
        try:
            image, geometry = _read(path, reading.normalisation, channels)
        except DataError as error:
            problems.append(error)
            continue
        slabs = predictor(image)
        if table is None:
            labels = label_map(slabs, geometry.shape)
        else:
            maps = whole_maps(slabs, geometry.shape)
            labels = maps.prediction.to(torch.uint8)
            table.add(path, target, maps.of_case("entropy"))
        write_volume(target, labels.numpy(), geometry)
        written.append(target)
    if table is not None:
        table.write()
    if problems:
        raise DataError(f"{problems[0]} ({len(problems)} of {len(targets)} volumes have no mask in {output})")
    return written


def plan_volumes(folder: Path, output: Path, *, overwrite: bool = False) -> dict[Path, Path]:
    """The label map of every volume below `folder`; nothing is written.

    Raises:
        DataError: there are no volumes, or two have the same name.
        ConfigError: a label map would lie among the volumes.
        RunError: a label map is there already and `overwrite` is not given.
    """
    volumes = [path for path in find_volumes(folder) if not is_mask(strip_nifti(path.name))]
    if not volumes:
        raise DataError(f"{folder}: holds only masks; give a folder with volumes")
    return plan_targets(
        volumes, folder, output, lambda path: f"{strip_nifti(path.name)}_mask.nii.gz", overwrite=overwrite
    )


def _read(path: Path, normalisation: Normalisation, channels: int) -> tuple[torch.Tensor, Geometry]:
    """The image (C, Z, Y, X) in 0..1 and its grid."""
    geometry = read_geometry(path, channels=channels)
    voxels = read_volume(path, channels=channels)
    try:
        return torch.from_numpy(normalisation(voxels)), geometry
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
