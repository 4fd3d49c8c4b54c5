"""What a file is, by its content: suffixes mislead, and `.pt` alone has three meanings."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from meddistill.teachers.adapters.onnx_file import looks_like_onnx

FileKind = Literal["torchscript", "pt2", "onnx", "weights"]


def file_kind(path: Path) -> FileKind:
    """The kind of a file that exists; what is no program counts as weights, whose reader says what is wrong.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "teacher.pt"
        >>> torch.save({"weight": torch.ones(1)}, path)
        >>> file_kind(path)
        'weights'
    """
    with open(path, "rb") as file:
        start = file.read(4096)
    if start.startswith(b"PK"):
        return _archive_kind(path)
    if path.suffix == ".onnx" or (looks_like_onnx(start) and not _looks_like_safetensors(start, path)):
        return "onnx"
    return "weights"


def _looks_like_safetensors(start: bytes, path: Path) -> bool:
    """Whether a file begins with the length of a JSON header that it can hold, in 8 bytes, and its brace.

    The low byte of that length may be the first one of an ONNX model.
    """
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 8 + length <= path.stat().st_size


def _archive_kind(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "weights"
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "pt2"
    return "torchscript" if any(name.startswith("code/") for name in inner) else "weights"
