"""Small data sets with labels of whole images that can be seen: a bright patch in a place of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.data.builders import manifest, write_image

NAMES = ("healthy", "sick", "worse")


def picture(kind: int, seed: int, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    """Noise with a bright patch at the top (0), in the middle (1) or at the bottom (2)."""
    image = np.random.default_rng(seed).integers(0, 120, size, dtype=np.uint8)
    rows = size[0] // 4
    top = rows * (0, 1.5, 3)[kind]
    image[int(top) : int(top) + rows, 2:-2] = 230
    return image


def class_tree(root: Path, *, per_class: int = 4, classes: int = 2, size: tuple[int, int] = (16, 16)) -> Path:
    """`root/CLASS/p<patient>_<number>.png`, two images a patient."""
    for kind, name in enumerate(NAMES[:classes]):
        for number in range(per_class):
            file = root / name / f"{name[0]}{number // 2}_{number}.png"
            write_image(file, picture(kind, seed=100 * kind + number, size=size))
    return root


def label_table(root: Path, *, cases: int = 12, name: str = "list.csv") -> Path:
    """Images with one, both or none of the labels `top` and `bottom`, in lists as NIH ChestX-ray has them."""
    rows = []
    for number in range(cases):
        held = [label for bit, label in enumerate(("top", "bottom")) if number >> bit & 1]
        image = np.random.default_rng(number).integers(0, 120, (16, 16), dtype=np.uint8)
        for label in held:
            image[{"top": slice(0, 4), "bottom": slice(12, 16)}[label], 2:-2] = 230
        write_image(root / f"images/{number:03}.png", image)
        rows.append(
            {
                "Image Index": f"{number:03}.png",
                "Finding Labels": "|".join(held) or "No Finding",
                "Patient ID": f"{number // 2}",
            }
        )
    return manifest(root / name, rows)


def medmnist_file(file: Path, *, per_part: int = 8, colour: bool = False, labels: int = 1) -> Path:
    """An npz with `train`, `val` and `test`; one class of two, or `labels` labels, per image."""
    arrays = {}
    for offset, part in enumerate(("train", "val", "test")):
        kinds = np.arange(per_part) % 2
        images = np.stack([picture(kind, 1000 * offset + n) for n, kind in enumerate(kinds)])
        arrays[f"{part}_images"] = np.stack([images] * 3, axis=-1) if colour else images
        columns = [kinds, *((np.arange(per_part) + shift) // 2 % 2 for shift in range(1, labels))]
        arrays[f"{part}_labels"] = np.stack(columns, axis=1).astype(np.uint8)
    np.savez(file, **arrays)
    return file
