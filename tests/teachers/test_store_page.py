"""The page docs/teacher-store.md: its example runs, and what it says of sizes and precision is so."""

import re
from pathlib import Path

import pytest
import torch

from meddistill.teachers import TeacherStore
from meddistill.teachers.store import bytes_per_row
from tests.teachers.stores import SIZE, manifest

PAGE = (Path(__file__).parents[2] / "docs" / "teacher-store.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "teacher-store.md", "exec"), names)
    assert "12 rows written" in capsys.readouterr().out
    assert TeacherStore.open(tmp_path / "store").complete
    assert torch.isfinite(names["loss"])


def test_the_files_and_sizes_are_those_of_the_page():
    listed = set(re.findall(r"^      (\w+\.\w+) ", PAGE, flags=re.MULTILINE))
    files = bytes_per_row(manifest(classes=20, encoding="uint8"))
    assert listed == {"manifest.json", *(f"{name}.npy" for name in files)}
    pixels = SIZE[0] * SIZE[1]
    assert sum(bytes_per_row(manifest()).values()) == 2 * pixels + 8
    assert sum(bytes_per_row(manifest(encoding="uint8")).values()) == pixels + 16
