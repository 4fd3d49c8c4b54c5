"""What a file is follows from its content, whatever it is called."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from meddistill.teachers.adapters.kinds import file_kind
from meddistill.teachers.adapters.onnx_file import looks_like_onnx


def checkpoint(path: Path) -> None:
    torch.save({"state_dict": nn.Conv2d(1, 2, 1).state_dict()}, path)


def old_checkpoint(path: Path) -> None:
    torch.save(nn.Conv2d(1, 2, 1).state_dict(), path, _use_new_zipfile_serialization=False)


def safetensors(path: Path) -> None:
    save_file(nn.Conv2d(1, 2, 1).state_dict(), path)


def safetensors_like_onnx(path: Path) -> None:
    """Its header is 4 times 256 and 8 bytes long, so that it starts as an ONNX model of version 4 does."""
    save_file(nn.Conv2d(1, 2, 1).state_dict(), path, metadata={"note": "x" * 880})
    assert looks_like_onnx(path.read_bytes())


def torchscript(path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 2, 1)), path)


def pt2(path: Path) -> None:
    exported = path.with_suffix(".pt2")
    torch.export.save(torch.export.export(nn.Conv2d(1, 2, 1), (torch.rand(1, 1, 4, 4),)), exported)
    exported.rename(path)


def text(path: Path) -> None:
    path.write_text("PKK, but no archive")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pt", ".bin", ""])
@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (checkpoint, "weights"),
        (old_checkpoint, "weights"),
        (safetensors, "weights"),
        (safetensors_like_onnx, "weights"),
        (torchscript, "torchscript"),
        (pt2, "pt2"),
        (text, "weights"),
    ],
)
def test_the_content_decides(tmp_path: Path, suffix: str, write, kind: str):
    path = tmp_path / f"teacher{suffix}"
    write(path)
    assert file_kind(path) == kind


def test_the_suffix_alone_makes_onnx_of_what_is_none(tmp_path: Path):
    """So that the reader of ONNX says what is wrong with it."""
    (tmp_path / "t.onnx").write_text("text")
    assert file_kind(tmp_path / "t.onnx") == "onnx"
