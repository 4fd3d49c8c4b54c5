"""Tiny folders in the layouts that the sources read, and broken files."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

PALETTE = [
    {"name": "background", "color": [0, 0, 0], "classid": 0},
    {"name": "shaft", "color": [0, 255, 0], "classid": 1},
    {"name": "clasper", "color": [0, 255, 255], "classid": 2},
]


def write_image(path: Path, values: np.ndarray | int = 0, size: tuple[int, int] = (8, 6)) -> Path:
    """An image file of the array (H, W) or (H, W, 3), or of one grey value at `size` (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = values if isinstance(values, np.ndarray) else np.full(size, values, dtype=np.uint8)
    Image.fromarray(array).save(path)
    return path


def busi_tree(root: Path, *, per_class: int = 3, size: tuple[int, int] = (12, 10), seed: int = 0) -> Path:
    """Random images with square lesions in `benign` and `malignant`, empty masks in `normal`."""
    generator = np.random.default_rng(seed)
    for stratum in ("benign", "malignant", "normal"):
        for number in range(1, per_class + 1):
            mask = np.zeros(size, dtype=np.uint8)
            if stratum != "normal":
                mask[2:6, 3 : 4 + number % 4] = 255
            name = f"{stratum}/{stratum} ({number})"
            write_image(root / f"{name}.png", generator.integers(0, 256, size, dtype=np.uint8))
            write_image(root / f"{name}_mask.png", mask)
    return root


def endovis_tree(root: Path, *, sequences: int = 2, frames: int = 2, size: tuple[int, int] = (8, 10)) -> Path:
    """Sequences with colour labels: a stripe of each class and one pixel of a colour that nobody knows."""
    label = np.zeros((*size, 3), dtype=np.uint8)
    label[2:4] = (0, 255, 0)
    label[4:6] = (0, 255, 255)
    label[7, 9] = (1, 2, 3)
    for sequence in range(1, sequences + 1):
        for frame in range(frames):
            colour = np.full((*size, 3), 10 * frame, dtype=np.uint8)
            write_image(root / f"seq_{sequence}/left_frames/frame{frame:03}.png", colour)
            write_image(root / f"seq_{sequence}/labels/frame{frame:03}.png", label)
    return write_json(root / "labels.json", PALETTE).parent


def manifest(path: Path, rows: Iterable[Mapping[str, str]], columns: Sequence[str] | None = None) -> Path:
    """A CSV of `rows`; the columns are those of the first row unless given."""
    rows = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, value: object) -> Path:
    """`value` as a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def png_bomb(path: Path, width: int = 100_000, height: int = 100_000) -> Path:
    """A PNG of a few bytes whose header claims `width` x `height` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    return path


def truncate(path: Path, share: float = 0.6) -> Path:
    """Cut the end of a file off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
