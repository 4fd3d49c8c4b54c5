"""Masks for a folder of images, at the images' own sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from meddistill.data.images import read_image, strip_ending
from meddistill.data.resize import INTERPOLATIONS, Interpolation, resize_image
from meddistill.data.sources.scan import image_files
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.evaluation.inference import Network, predicting
from meddistill.files import replacing
from meddistill.models.compound import branch_of
from meddistill.models.spec import ModelSpec, load_model
from meddistill.progress import track
from meddistill.training.run_folder import RunFolder, read_json

_MASK = re.compile(r"_mask(_\d+)?$")
"""End of the names of label files, as `FolderSource` reads them."""


def predict(
    run: Path | str,
    folder: Path | str,
    output: Path | str,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
    overwrite: bool = False,
    branch: str | None = None,
) -> list[Path]:
    """Write a mask for every image of `folder`, in the same subfolders below `output`.

    Images are brought to the size the student was trained at; its logits go back to the original size
    (bilinear) before the largest is taken. `a/b.jpg` becomes `a/b_mask.png`, 8-bit grey: 0 and 255 with
    two classes, else the label's number. Files named `..._mask` or `..._mask_1` are taken for labels and
    left out. Each mask appears whole or not at all.

    Args:
        run: a run folder.
        folder: images, searched recursively.
        output: where to write; it may not be where the images are, because labels may lie there.
        device: where to run the network.
        batch_size: images at a time.
        overwrite: replace masks that are there.
        branch: which one to ask of a student that has several, such as `upper`; None takes the first.

    Returns:
        The masks written, in the order of the images.

    Raises:
        RunError: not a usable run, or masks that are there already.
        DataError: no images, two images with one mask name, or unreadable images; the masks of all others are
            written first.
        ConfigError: the batch size is below 1, `output` is where the images are, or there is no such branch.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    spec, student, interpolation = _load(RunFolder(Path(run)))
    network = branch_of(student, branch)
    targets = plan_masks(Path(folder), Path(output), overwrite=overwrite)
    network.to(device)
    written: list[Path] = []
    problems: list[DataError] = []
    with predicting(network):
        for chunk in track(list(_chunks(list(targets), batch_size)), "predicting"):
            images = _read(chunk, spec, problems)
            written += _predict_images(network, images, targets, spec.size, interpolation, device)
    if problems:
        raise DataError(f"{problems[0]} ({len(problems)} of {len(targets)} images have no mask in {output})")
    return written


def _load(run: RunFolder) -> tuple[ModelSpec, nn.Module, Interpolation]:
    """The chosen student and how its images were resized."""
    interpolation = read_json(run.model).get("interpolation")
    spec, network = load_model(run.weights)
    if interpolation not in INTERPOLATIONS:
        raise RunError(
            f"{run.model} does not say how images were resized: interpolation is {interpolation!r}"
        )
    if spec.dims != 2 or len(spec.size) != 2:
        raise RunError(f"{run.weights} is not for 2D images of a known size; predict reads plain images")
    return spec, network, interpolation


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
    images = [path for path in image_files(folder) if not _MASK.search(strip_ending(path.name))]
    if not images:
        raise DataError(f"{folder}: holds only masks; give a folder with images")
    targets: dict[Path, Path] = {}
    owners: dict[Path, Path] = {}
    for image in images:
        relative = image.relative_to(folder)
        target = output / relative.with_name(f"{strip_ending(image.name)}_mask.png")
        if target in owners:
            raise DataError(f"{owners[target]} and {image} would both become {target}; rename one of them")
        targets[image], owners[target] = target, image
    _check_free(targets, overwrite=overwrite)
    return targets


def _check_free(targets: Mapping[Path, Path], *, overwrite: bool) -> None:
    image_folders = {image.parent.resolve() for image in targets}
    for target in targets.values():
        if target.parent.resolve() in image_folders:
            raise ConfigError(f"{target} would lie among the images; choose another output folder")
        if target.exists() and not overwrite:
            raise RunError(f"{target} is there already; choose another output folder or overwrite")


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
    network: Network,
    images: Mapping[Path, Tensor],
    targets: Mapping[Path, Path],
    size: tuple[int, ...],
    interpolation: Interpolation,
    device: torch.device | str,
) -> list[Path]:
    """Predict some images together and write their masks."""
    if not images:
        return []
    resized = [_as_float(resize_image(image, size, interpolation)) for image in images.values()]
    logits = network(torch.stack(resized).to(device)).float()
    for (path, image), single in zip(images.items(), logits, strict=True):
        original = F.interpolate(single[None], size=image.shape[1:], mode="bilinear")[0]
        _write_mask(original.argmax(dim=0), len(original), targets[path])
    return [targets[path] for path in images]


def _as_float(image: Tensor) -> Tensor:
    return image.float() / 255 if image.dtype == torch.uint8 else image


def _write_mask(labels: Tensor, num_classes: int, path: Path) -> None:
    from PIL import Image

    values = labels * 255 if num_classes == 2 else labels
    with replacing(path) as temporary:
        Image.fromarray(values.to(torch.uint8).cpu().numpy()).save(temporary, format="PNG")
