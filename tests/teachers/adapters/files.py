"""Program files for tests: small networks, and archives that are taken apart and put together again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """A network with the usual parts: convolution, normalisation, dropout, resizing by the image's size."""

    def __init__(self, channels: int = 1, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(channels)
        self.down = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout2d(0.5)
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.drop(torch.relu(self.norm(self.down(image))))
        logits = self.head(features)
        return nn.functional.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=False)


def classifier() -> nn.Module:
    """A network that answers once per image."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


def read_records(path: Path) -> dict[str, bytes]:
    """The records of an archive of torch, less those that its writer adds by itself."""
    archive = torch._C.PyTorchFileReader(str(path))
    names = [name for name in archive.get_all_records() if not name.startswith((".data", "byteorder"))]
    return {name: archive.get_record(name) for name in names if name != "version"}


def write_records(path: Path, records: dict[str, bytes]) -> Path:
    """An archive of torch with these records."""
    archive = torch._C.PyTorchFileWriter(str(path))
    for name, content in records.items():
        archive.write_record(name, content, len(content))
    archive.write_end_of_file()
    return path


def change_json(records: dict[str, bytes], name: str, change: Callable[[Any], object]) -> None:
    """Change the JSON in a record."""
    value = json.loads(records[name])
    change(value)
    records[name] = json.dumps(value).encode()
