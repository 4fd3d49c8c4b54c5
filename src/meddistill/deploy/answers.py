"""Probabilities for a folder of images, as one CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.data.images import read_image, strip_ending
from meddistill.data.resize import Interpolation, resize_image
from meddistill.data.sources.scan import image_files
from meddistill.deploy.targets import is_mask
from meddistill.deploy.uncertainty_table import COLUMN
from meddistill.errors import DataError, RunError
from meddistill.evaluation.answer_gallery import NOTHING, decide
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.answers import PROBABILITY
from meddistill.evaluation.inference import predicting
from meddistill.evaluation.proper_scores import two_classes
from meddistill.files import csv_text, write_text
from meddistill.models.spec import ModelSpec
from meddistill.progress import track

FILE = "predictions.csv"
"""Name of the file in an output folder."""

JOIN = "|"
"""What stands between several labels of an image."""


def predict_answers(
    network: nn.Module,
    spec: ModelSpec,
    interpolation: Interpolation,
    folder: Path,
    output: Path,
    *,
    device: torch.device | str,
    batch_size: int,
    overwrite: bool,
    uncertainty: bool,
) -> Path:
    """Write a CSV with a line for every image of `folder`; see `meddistill.deploy.predict.predict`.

    Args:
        network: on `device`.
        spec: classes, channels, size and task of the network.
        interpolation: how images are resized.
        folder: images, searched recursively.
        output: a name that ends in `.csv`, or a folder in which `predictions.csv` is written.
        device: where to compute.
        batch_size: images at a time.
        overwrite: replace a file that is there.
        uncertainty: with a column of the entropy of each answer, over log K; of several labels its mean.

    Returns:
        The file.

    Raises:
        RunError: the file is there already, or cannot be written.
        DataError: no images, or unreadable ones; the lines of all others are written first.
    """
    file = output if output.suffix.lower() == ".csv" else output / FILE
    if file.exists() and not overwrite:
        raise RunError(f"{file} is there already; choose another name or overwrite")
    images = [path for path in image_files(folder) if not is_mask(strip_ending(path.name))]
    if not images:
        raise DataError(f"{folder}: holds only masks; give a folder with images")
    problems: list[DataError] = []
    lines = _lines(network, spec, interpolation, images, problems, device=device, batch_size=batch_size)
    with predicting(network):
        rows = [{"image": path.relative_to(folder).as_posix(), **row} for path, row in lines]
    columns = ["image", "answer", *(f"{PROBABILITY}{name}" for name in _names(spec))]
    write_text(file, csv_text([*columns, COLUMN] if uncertainty else columns, rows))
    if problems:
        raise DataError(f"{problems[0]} ({len(problems)} of {len(images)} images have no line in {file})")
    return file


def _lines(
    network: nn.Module,
    spec: ModelSpec,
    interpolation: Interpolation,
    images: list[Path],
    problems: list[DataError],
    *,
    device: torch.device | str,
    batch_size: int,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    chunks = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    for chunk in track(chunks, "predicting"):
        read = dict(_readable(chunk, spec, interpolation, problems))
        if not read:
            continue
        logits = network(torch.stack(list(read.values())).to(device)).double().cpu()
        several = spec.task == "multi_label"
        probabilities = logits.sigmoid() if several else logits.softmax(dim=1)
        decided = decide(logits, "multi_label" if several else "classification")
        maps = Maps.of_answers(two_classes(logits) if several else logits)
        for index, (path, answer, row) in enumerate(zip(read, decided, probabilities.tolist(), strict=True)):
            uncertain = maps.of(index).of_case("entropy", dense=False)
            yield path, {"answer": _words(answer, spec), **_columns(row, spec), COLUMN: uncertain}


def _readable(
    paths: Iterable[Path], spec: ModelSpec, interpolation: Interpolation, problems: list[DataError]
) -> Iterator[tuple[Path, Tensor]]:
    """The images (C, H, W) in 0..1 at the student's size; what is wrong with others goes to `problems`."""
    for path in paths:
        try:
            image = torch.from_numpy(read_image(path, spec.in_channels))
        except DataError as error:
            problems.append(error)
            continue
        resized = resize_image(image, spec.size, interpolation)
        yield path, resized.float() / 255 if resized.dtype == torch.uint8 else resized


def _words(answer: Any, spec: ModelSpec) -> str:
    names = _names(spec)
    if spec.task != "multi_label":
        return names[int(answer)]
    return JOIN.join(name for name, holds in zip(names, answer, strict=True) if holds) or NOTHING


def _columns(probabilities: Iterable[float], spec: ModelSpec) -> Mapping[str, float]:
    return {f"{PROBABILITY}{name}": p for name, p in zip(_names(spec), probabilities, strict=True)}


def _names(spec: ModelSpec) -> tuple[str, ...]:
    return spec.class_names or tuple(f"class {number}" for number in range(spec.num_classes))
