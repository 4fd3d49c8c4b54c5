"""What sweep_speed.py and sweep_memory.py work on: images in a folder, and runs that were never trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from meddistill.config import recipe_to_yaml
from meddistill.config.load import check_recipe
from meddistill.data import FolderSource
from meddistill.data.phantom import PhantomSource
from meddistill.files import write_json, write_text
from meddistill.models import save_weights
from meddistill.training.assembly import assemble
from meddistill.training.run_folder import RunFolder


def make_images(folder: Path, cases: int, *, size: int, images: str | None = None) -> Path:
    """A class folder of twice as many cases, half of which are test cases later.

    Args:
        folder: to write to.
        cases: how many of them will be test cases.
        size: of phantoms, pixels along each side.
        images: a class folder to copy cases from; None for phantoms.
    """
    if images is None:
        return _phantoms(folder, 2 * cases, size)
    source = FolderSource(Path(images))
    step = max(1, len(source.cases) // (2 * cases))
    for case in source.cases[::step][: 2 * cases]:
        assert case.image is not None
        for file in (case.image, *case.labels):
            place = folder / file.relative_to(images)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return folder


def _phantoms(folder: Path, cases: int, size: int) -> Path:
    source = PhantomSource(cases, size=(size, size))
    (folder / "lesion").mkdir(parents=True)
    for number, case in enumerate(source.cases):
        name = folder / "lesion" / f"lesion ({number + 1})"
        Image.fromarray(source.read_image(case)[0]).save(f"{name}.png")
        mask = (source.read_label(case) > 0).astype(np.uint8) * 255
        Image.fromarray(mask).save(f"{name}_mask.png")
    return folder


def make_runs(folder: Path, images: Path, *, runs: int, size: int, width: int, batch: int) -> list[Path]:
    """Runs as training leaves them, with random weights, which change no time."""
    return [
        finished_run(folder / f"row{number}-s0", recipe_of(images, number, size, width, batch))
        for number in range(runs)
    ]


def recipe_of(images: Path, seed: int, size: int, width: int, batch: int) -> dict[str, Any]:
    """The recipe of a run."""
    return {
        "name": "sweep",
        "seed": seed,
        "data": {
            "source": {"kind": "folder", "root": str(images)},
            "splits": {"fractions": {"train": 0.5, "test": 0.5}},
            "size": [size, size],
        },
        "model": {"name": "pcd/unet", "options": {"width": width}},
        "method": {"name": "supervised"},
        "training": {"epochs": 1, "batch_size": batch, "accelerator": "cpu"},
    }


def finished_run(folder: Path, mapping: dict[str, Any]) -> Path:
    """A finished run of a recipe with the weights that its seed begins with: nothing is learnt, and soon."""
    recipe, run = check_recipe(mapping), RunFolder(folder)
    made = assemble(recipe)
    write_text(run.config, recipe_to_yaml(recipe))
    save_weights(made.student, made.spec, run.weights)
    write_json(run.model, made.spec.to_json() | {"interpolation": recipe.data.interpolation})
    split = {name: [case.id for case in cases] for name, cases in made.data.split.cases.items()}
    write_json(run.environment, {"split_cases": split})
    run.write_state(state="finished", epochs_done=0)
    return folder
