"""Commands that go wrong, and what must then be true, for the tests beside this file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from meddistill.cli import run
from meddistill.config import recipe_to_yaml
from meddistill.files import write_json, write_text
from meddistill.models import ModelSpec, save_weights
from meddistill.training.run_folder import RunFolder
from tests.data.builders import busi_tree
from tests.evaluation.tables import table
from tests.recipes import tiny_recipe, write_recipe


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file with its content and every folder below `folder`."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def the_line(out: str, err: str) -> str:
    """The one line on stderr, made sure to be an error and no traceback."""
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


def check_mistake(command: list[str], says: Iterable[str], place: Path, capfd: Any) -> None:
    """The command ends in one line with these words and exit code 2, and changes nothing in `place`."""
    before = snapshot(place)
    capfd.readouterr()
    assert run(command) == 2
    line = the_line(*capfd.readouterr())
    assert all(word in line for word in says), line
    assert snapshot(place) == before


def train(place: Path, *options: str, **changes: object) -> list[str]:
    """The command that trains by a recipe in `place` into a new folder there."""
    return ["train", str(write_recipe(place, **changes)), "-o", str(place / "out"), *options]


def tree(place: Path) -> Path:
    """A class-folder tree that can be trained on."""
    return busi_tree(place / "data", per_class=6, size=(40, 36))


def on_folder(root: Path, **more: object) -> dict[str, object]:
    return {"source": {"kind": "folder", "root": str(root), **more}}


def weights(path: Path, classes: int = 2) -> Path:
    spec = ModelSpec("pcd/unet", num_classes=classes, options={"width": 2}, size=(32, 32))
    save_weights(spec.build(), spec, path)
    return path


def made_run(folder: Path, *, state: str = "finished", dice: tuple[float, ...] = ()) -> Path:
    """A run folder as training leaves it, with test scores where `dice` gives some."""
    run_folder = RunFolder(folder)
    write_text(run_folder.config, recipe_to_yaml(tiny_recipe()))
    spec = ModelSpec("pcd/unet", options={"width": 2}, size=(32, 32))
    save_weights(spec.build(), spec, run_folder.weights)
    write_json(run_folder.model, spec.to_json() | {"interpolation": "area"})
    run_folder.write_state(state=state, epochs_done=1)
    if dice:
        run_folder.scores().parent.mkdir()
        table(dice).write_csv(run_folder.scores())
    return folder


class RunsCode:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch '{self.mark}'",)


def raw_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


def torch_pickle(value: object, path: Path) -> None:
    torch.save({"state_dict": value}, path)


class SavesWhenLoaded(torch.nn.Module):
    """As a TorchScript program it leaves a file behind as soon as it is loaded."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark, self.weight = mark, torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return self.mark, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.mark, self.weight, self.training = state
        torch.save(self.weight, self.mark)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


def script_program(mark: Path, path: Path) -> None:
    torch.jit.script(SavesWhenLoaded(str(mark))).save(path)
