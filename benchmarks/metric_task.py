"""What the benchmark of the metrics scores, and the ways to score it; see benchmarks/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from torch import Tensor
from torch.nn.functional import one_hot

from meddistill.evaluation import overlap_counts, surface_distances
from meddistill.evaluation.overlap import dice_from_counts, iou_from_counts, precision_from_counts

Map = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SMOOTH = 1e-4
"""What the released P-CD code adds to numerator and denominator of its Dice."""


@dataclass(frozen=True)
class Task:
    """Maps to compare.

    Args:
        name: how tables call it.
        prediction: (B, *S) integers, int64 where nothing else is said.
        label: (B, *S) like the prediction.
        classes: K, background included.
    """

    name: str
    prediction: Tensor
    label: Tensor
    classes: int

    def in_bytes(self) -> Task:
        """The same maps in one byte for each pixel."""
        maps = (values.to(torch.uint8) for values in (self.prediction, self.label))
        return Task(f"{self.name}, one byte a pixel", *maps, self.classes)

    @classmethod
    def of(cls, name: str, label: Map, classes: int, off: float, rng: np.random.Generator) -> Task:
        """A label, and as its prediction each case with its outlines moved by about `off` pixels."""
        prediction = np.stack([moved(case, off, rng) for case in label])
        return cls(name, torch.from_numpy(prediction), torch.from_numpy(label), classes)

    @cached_property
    def one_hot(self) -> list[Tensor]:
        """Prediction and label as MONAI takes them without converting, (B, K, *S) float32."""
        maps = (self.prediction, self.label)
        return [one_hot(values, self.classes).movedim(-1, 1).float().contiguous() for values in maps]

    def masks(self, case: int, value: int) -> tuple[Mask, Mask]:
        """Prediction and label of one structure."""
        return tuple(values[case].numpy() == value for values in (self.prediction, self.label))


def moved(label: Map, off: float, rng: np.random.Generator) -> Map:
    """A label map (*S) with every place taken from some pixels away, by a field that changes slowly."""
    coarse = rng.normal(size=(label.ndim, *(6,) * label.ndim))
    field = [off * zoom(axis, np.array(label.shape) / 6, order=1) for axis in coarse]
    return map_coordinates(label, np.indices(label.shape) + field, order=0)


def ellipsoid(size: tuple[int, ...], centre: npt.ArrayLike, radii: npt.ArrayLike) -> Mask:
    """A filled ellipse or ellipsoid."""
    axes = [
        ((np.arange(length) - middle) / radius) ** 2
        for length, middle, radius in zip(size, np.asarray(centre), np.asarray(radii), strict=True)
    ]
    return sum(np.ix_(*axes)) < 1


def lesions(cases: int, size: int, classes: int, rng: np.random.Generator) -> Map:
    """Images (cases, size, size) with one lesion of each class."""
    label = np.zeros((cases, size, size), np.int64)
    for case in label:
        for value in range(1, classes):
            centre, radii = (rng.uniform(low, high, 2) * size for low, high in ((0.3, 0.7), (0.06, 0.22)))
            case[ellipsoid(case.shape, centre, radii)] = value
        case[:] = moved(case, size / 100, rng)
    return label


def organ(side: int, rng: np.random.Generator) -> Map:
    """A volume (1, side, side, side) of an organ with three lesions in it."""
    label = np.zeros((side,) * 3, np.int64)
    label[ellipsoid(label.shape, [side / 2] * 3, rng.uniform(0.24, 0.34, 3) * side)] = 1
    for shift in ((-0.1, 0.1, 0.0), (0.1, 0.0, 0.12), (0.0, -0.12, -0.1)):
        centre = (0.5 + np.array(shift)) * side
        label[ellipsoid(label.shape, centre, rng.uniform(0.03, 0.07, 3) * side)] = 2
    return moved(label, side / 60, rng)[None]


def masks_of_files(root: Path, cases: int, size: int) -> Map:
    """The first lesions among the masks `*_mask.png` below a folder, (cases, size, size)."""
    label = []
    for path in sorted(root.rglob("*_mask.png")):
        with Image.open(path) as image:
            mask = np.asarray(image.convert("L").resize((size, size), Image.Resampling.NEAREST)) > 127
        if mask.any():
            label.append(mask)
        if len(label) == cases:
            break
    return np.stack(label).astype(np.int64)


def surfaces_meddistill(task: Task) -> Scores:
    """HD95 and ASD, (B, K - 1, 2), and with them the surface Dice."""
    found = surface_distances(task.prediction, task.label, num_classes=task.classes)
    return torch.stack([found.hd95, found.asd], dim=-1).numpy()


def surfaces_monai(task: Task) -> Scores:
    """The same from MONAI."""
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    hd95 = compute_hausdorff_distance(*task.one_hot, percentile=95)
    asd = compute_average_surface_distance(*task.one_hot, symmetric=True)
    return torch.stack([hd95, asd], dim=-1).double().numpy()


def surfaces_medpy(task: Task) -> Scores:
    """Its `hd95`, which pools the two directions before it takes the percentile, and its `assd`."""
    binary = import_module("medpy.metric.binary")
    found = np.empty((len(task.label), task.classes - 1, 2))
    for case, column in np.ndindex(*found.shape[:2]):
        masks = task.masks(case, column + 1)
        found[case, column] = binary.hd95(*masks), binary.assd(*masks)
    return found


def surfaces_from_medpy(task: Task) -> Scores:
    """HD95 and ASD as meddistill defines them, from the single distances of medpy."""
    one_way = getattr(import_module("medpy.metric.binary"), "__surface_distances")
    found = np.empty((len(task.label), task.classes - 1, 2))
    for case, column in np.ndindex(*found.shape[:2]):
        predicted, labelled = task.masks(case, column + 1)
        ways = one_way(predicted, labelled), one_way(labelled, predicted)
        found[case, column] = max(np.percentile(way, 95) for way in ways), np.concatenate(ways).mean()
    return found


def overlaps_meddistill(task: Task) -> Scores:
    """Dice, IoU and precision, (B, K - 1, 3), by the policy of the released P-CD code."""
    counts = overlap_counts(task.prediction, task.label, num_classes=task.classes)
    nothing = counts.predicted == 0
    scores = (
        dice_from_counts(counts, both_empty=1.0, smooth=SMOOTH),
        iou_from_counts(counts, both_empty=1.0),
        precision_from_counts(counts).masked_fill(nothing, 1.0),
    )
    return torch.stack(scores, dim=-1)[:, 1:].numpy()


def overlaps_loop(task: Task) -> Scores:
    """The same as the definition reads: for each image and class two masks, for each score a formula."""
    found = np.empty((len(task.label), task.classes - 1, 3))
    for case, column in np.ndindex(*found.shape[:2]):
        masks = task.masks(case, column + 1)
        found[case, column] = _dice(*masks), _iou(*masks), _precision(*masks)
    return found


def overlaps_released(task: Task) -> Scores:
    """The loop in the order of work of the released P-CD code.

    There every score makes its own masks, and precision counts what is falsely found from the inverted label.
    """
    found = np.empty((len(task.label), task.classes - 1, 3))
    for case, column in np.ndindex(*found.shape[:2]):
        found[case, column] = [
            score(*task.masks(case, column + 1)) for score in (_dice, _iou, _precision_of_found)
        ]
    return found


def _dice(predicted: Mask, labelled: Mask) -> float:
    return (2 * np.sum(predicted & labelled) + SMOOTH) / (np.sum(predicted) + np.sum(labelled) + SMOOTH)


def _iou(predicted: Mask, labelled: Mask) -> float:
    union = np.sum(predicted | labelled)
    return np.sum(predicted & labelled) / union if union else 1.0


def _precision(predicted: Mask, labelled: Mask) -> float:
    size = np.sum(predicted)
    return np.sum(predicted & labelled) / size if size else 1.0


def _precision_of_found(predicted: Mask, labelled: Mask) -> float:
    hit, false = (np.sum(np.logical_and(truth, predicted)) for truth in (labelled, 1 - labelled))
    return hit / (hit + false) if hit + false else 1.0
