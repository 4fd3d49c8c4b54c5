"""Masks for a folder of images or volumes, at their own sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from meddistill.data.images import read_image, strip_ending
from meddistill.data.resize import resize_image
from meddistill.data.sources.scan import image_files
from meddistill.deploy.answers import predict_answers
from meddistill.deploy.student import Student, load_student
from meddistill.deploy.targets import is_mask, plan_targets
from meddistill.deploy.uncertainty_table import UncertaintyTable
from meddistill.deploy.volumes import predict_volumes
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.inference import predicting
from meddistill.files import replacing
from meddistill.models.spec import ModelSpec
from meddistill.progress import track


def predict(
    run: Path | str,
    folder: Path | str,
    output: Path | str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
    overwrite: bool = False,
    branch: str | None = None,
    calibrated: bool = False,
    uncertainty: bool = False,
) -> list[Path]:
    """Write a mask for every image or volume of `folder`, in the same subfolders below `output`.

    A student of images reads images, a student of volumes (or of their slices) reads volumes. Files named
    `..._mask` or `..._mask_1` are taken for labels and left out. Each mask appears whole or not at all.

    Images are brought to the size the student was trained at; its logits go back to the original size
    (bilinear) before the largest is taken. `a/b.jpg` becomes `a/b_mask.png`, 8-bit grey: 0 and 255 with
    two classes, else the label's number.

    Volumes are NIfTI files and folders that hold one DICOM series each. They are normalised as in training
    and predicted slice by slice, by a sliding window, or resized, as the student was trained; `a/b.nii.gz`
    becomes `a/b_mask.nii.gz` with the label's number in every voxel, and the shape and affine of its input.

    A student that answers once per image writes one CSV instead: `output` where that ends in `.csv`, else
    `predictions.csv` in it, with the columns `image`, `answer` (a class, or several labels between `|`) and
    `p_CLASS`, the probability of each.

    With `uncertainty` there is an `uncertainty.csv` beside the masks, with the columns `image`, `mask` and
    `uncertainty`, and the CSV of answers has that column: the entropy of the answer as `evaluate` measures
    it, in 0..1, of a mask in and near the structure (see `case_uncertainty`).

    Args:
        run: a run folder.
        folder: images or volumes, searched recursively.
        output: where to write; it may not be where the images are, because labels may lie there.
        device: where to run the network.
        batch_size: images or slices at a time.
        overwrite: replace masks that are there.
        branch: which one to ask of a student that has several, such as `upper`; None takes the first.
        calibrated: put the calibration that was last fitted to the run behind the student.
        uncertainty: also write how uncertain the student is of each image.

    Returns:
        The masks written, in the order of the images; or the CSV of answers alone.

    Raises:
        RunError: not a usable run, one without a calibration, or files that are there already.
        DataError: no images, two images with one mask name, or unreadable images; the masks of all others are
            written first.
        ConfigError: the batch size is below 1, `output` is where the images are, or there is no such branch,
            or no calibration of it.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    student = load_student(run, branch=branch, calibrated=calibrated)
    network, spec = student.network.to(device), student.spec
    if student.volumes is not None:
        return predict_volumes(
            network,
            student.volumes,
            Path(folder),
            Path(output),
            channels=spec.in_channels,
            batch_size=batch_size,
            overwrite=overwrite,
            uncertainty=uncertainty,
        )
    if spec.task != "segmentation":
        answers = predict_answers(
            network,
            spec,
            student.interpolation,
            Path(folder),
            Path(output),
            device=device,
            batch_size=batch_size,
            overwrite=overwrite,
            uncertainty=uncertainty,
        )
        return [answers]
    return _predict_masks(
        student,
        Path(folder),
        Path(output),
        device=device,
        batch_size=batch_size,
        overwrite=overwrite,
        uncertainty=uncertainty,
    )


def _predict_masks(
    student: Student,
    folder: Path,
    output: Path,
    *,
    device: torch.device | str,
    batch_size: int,
    overwrite: bool,
    uncertainty: bool,
) -> list[Path]:
    """A mask for every image of a folder; the student is on `device`."""
    targets = plan_masks(folder, output, overwrite=overwrite)
    table = UncertaintyTable(folder, output, overwrite=overwrite) if uncertainty else None
    written: list[Path] = []
    problems: list[DataError] = []
    with predicting(student.network):
        for chunk in track(list(_chunks(list(targets), batch_size)), "predicting"):
            images = _read(chunk, student.spec, problems)
            written += _predict_images(student, images, targets, device, table)
    if table is not None:
        table.write()
    if problems:
        raise DataError(f"{problems[0]} ({len(problems)} of {len(targets)} images have no mask in {output})")
    return written


def plan_masks(folder: Path, output: Path, *, overwrite: bool = False) -> dict[Path, Path]:
    """The mask file of every image below `folder`; nothing is written.

    Raises:
        DataError: there are no images, or two images have the same mask name.
        ConfigError: a mask would lie among the images.
        RunError: a mask is there already and `overwrite` is not given.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.png").touch(), (folder / "a_mask.png").touch()
        (None, None)
        >>> [mask.as_posix() for mask in plan_masks(folder, Path("no-such-folder")).values()]
        ['no-such-folder/a_mask.png']
    """
    images = [path for path in image_files(folder) if not is_mask(strip_ending(path.name))]
    if not images:
        raise DataError(f"{folder}: holds only masks; give a folder with images")
    return plan_targets(
        images, folder, output, lambda path: f"{strip_ending(path.name)}_mask.png", overwrite=overwrite
    )


def _chunks(paths: list[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _read(paths: list[Path], spec: ModelSpec, problems: list[DataError]) -> dict[Path, Tensor]:
    """The readable images (C, H, W) at their own sizes; what is wrong with the others goes to `problems`."""
    images = {}
    for path in paths:
        try:
            images[path] = torch.from_numpy(read_image(path, spec.in_channels))
        except DataError as error:
            problems.append(error)
    return images


def _predict_images(
    student: Student,
    images: Mapping[Path, Tensor],
    targets: Mapping[Path, Path],
    device: torch.device | str,
    table: UncertaintyTable | None,
) -> list[Path]:
    """Predict some images together and write their masks."""
    if not images:
        return []
    size, interpolation = student.spec.size, student.interpolation
    resized = [_as_float(resize_image(image, size, interpolation)) for image in images.values()]
    logits = student.network(torch.stack(resized).to(device)).float()
    for (path, image), single in zip(images.items(), logits, strict=True):
        original = F.interpolate(single[None], size=image.shape[1:], mode="bilinear")[0]
        _write_mask(original.max(dim=0).indices, len(original), targets[path])
    if table is not None:
        maps = Maps.of_answers(logits)
        for index, path in enumerate(images):
            table.add(path, targets[path], maps.of(index).of_case("entropy"))
    return [targets[path] for path in images]


def _as_float(image: Tensor) -> Tensor:
    return image.float() / 255 if image.dtype == torch.uint8 else image


def _write_mask(labels: Tensor, num_classes: int, path: Path) -> None:
    from PIL import Image

    values = labels * 255 if num_classes == 2 else labels
    with replacing(path) as temporary:
        Image.fromarray(values.to(torch.uint8).cpu().numpy()).save(temporary, format="PNG")
