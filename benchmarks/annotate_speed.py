"""Where the time of annotating a transferal set goes: decoding, teacher, store, and the data folder.

See benchmarks/README.md. Example:

    python benchmarks/annotate_speed.py --images data/bus_uclm --markdown docs/results/annotate-speed.md
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bench_page import add_outputs, add_threads, machine, machine_lines, pairs_text, save
from meddistill.config import Recipe
from meddistill.config.load import check_recipe
from meddistill.methods import create_method
from meddistill.models import ModelSpec, count_parameters, save_weights
from meddistill.teachers import load_teacher
from meddistill.teachers.annotate import annotate
from meddistill.training.annotated_set import write_annotated_set
from meddistill.training.data import TaskData
from meddistill.training.storing import as_network, complete_store, describe_store
from meddistill.training.transfer import Teaching

NAMES = ("background", "lesion")


@dataclass(frozen=True)
class Settings:
    """What is annotated, and by which network; its weights are random, which changes no time."""

    images: str | None = None
    cases: int = 200
    size: int = 128
    batch: int = 8
    model: str = "smp/unet"
    encoder: str | None = "resnet34"
    rounds: int = 3


def spec_of(settings: Settings) -> ModelSpec:
    """The teacher's network."""
    options: dict[str, Any] = {"width": 4}
    if settings.encoder is not None:
        options = {"encoder_name": settings.encoder, "encoder_weights": None}
    return ModelSpec(settings.model, options=options, class_names=NAMES, size=(settings.size,) * 2)


def recipe_of(settings: Settings, teacher: Path) -> Recipe:
    """A transfer without rules over a folder, or over phantoms where none is given."""
    source: dict[str, Any] = {"kind": "phantom", "cases": settings.cases}
    if settings.images is not None:
        source = {"kind": "images", "root": settings.images, "class_names": list(NAMES)}
    return check_recipe(
        {
            "name": "annotate-speed",
            "data": {
                "source": source,
                "splits": {"fractions": {"train": 0.8, "selection": 0.2}},
                "size": [settings.size] * 2,
            },
            "model": {"name": "pcd/unet", "options": {"width": 4}},
            "method": {"name": "pseudo_label_transfer", "exclude": []},
            "teacher": {"path": str(teacher)},
            "training": {"epochs": 1, "batch_size": settings.batch, "accelerator": "cpu"},
        }
    )


def measure(settings: Settings) -> dict[str, Any]:
    """Annotate the set once in each round and note the seconds of each part."""
    with tempfile.TemporaryDirectory() as folder:
        spec, file = spec_of(settings), Path(folder) / "teacher.safetensors"
        network = spec.build()
        save_weights(network, spec, file)
        recipe = recipe_of(settings, file)
        rounds = []
        for number in range(settings.rounds):
            rounds.append(once(recipe, Path(folder) / str(number)))
            print(f"round {number + 1}/{settings.rounds}", file=sys.stderr, flush=True)
    return {
        "settings": asdict(settings),
        "teacher_parameters": count_parameters(network),
        "rounds": rounds,
        "images": rounds[0]["images"],
        **{name: statistics.median(row[name] for row in rounds) for name in ("speed", "share")},
    }


def once(recipe: Recipe, place: Path) -> dict[str, float]:
    """Seconds of decoding, of the annotation and in the teacher, and of writing the data folder.

    `speed` (images a second) and `share` (of the teacher) are those of the annotation from decoded images
    into the store, as `meddistill annotate` prints them.
    """
    started = time.perf_counter()
    data = TaskData.from_recipe(recipe)
    data.decode()
    decoded = time.perf_counter()
    teacher = load_teacher(str(recipe.teacher.path))
    splits = ("train", "selection")
    manifest, images = describe_store(recipe, data, teacher, splits)
    done = annotate(as_network(teacher), images, manifest, place / "store")
    stored = complete_store(recipe, teacher, place / "store", images, done)
    before = time.perf_counter()
    task = Teaching(recipe, data, create_method(**recipe.method), teacher)
    write_annotated_set(place / "set", task, stored, splits)
    return {
        "images": manifest.rows,
        "decoding": decoded - started,
        "annotation": done.seconds,
        "teacher": done.teacher_seconds,
        "folder": time.perf_counter() - before,
        "speed": done.written / done.seconds,
        "share": done.teacher_seconds / done.seconds,
    }


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, as (name, text): medians over the rounds."""
    middle = {
        name: statistics.median(row[name] for row in found["rounds"])
        for name in ("decoding", "annotation", "teacher", "folder")
    }
    return [
        ("decoding and resizing", f"{middle['decoding']:.1f} s"),
        ("annotation, decoded images to store", f"{middle['annotation']:.1f} s"),
        ("of it in the teacher", f"{middle['teacher']:.1f} s, {found['share']:.1%}"),
        ("images a second", f"{found['speed']:.1f}"),
        ("writing the data folder (--masks)", f"{middle['folder']:.1f} s"),
    ]


def text_table(found: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    return pairs_text(rows(found))


def markdown_page(found: Mapping[str, Any], hardware: Mapping[str, Any]) -> str:
    """The page docs/results/annotate-speed.md."""
    settings = found["settings"]
    where = "a folder of images" if settings["images"] else "phantoms"
    lines = [
        "# Time of annotating a transferal set",
        "",
        "<!-- Written by benchmarks/annotate_speed.py --markdown; do not edit. -->",
        "",
        "Medians over the rounds; benchmarks/README.md says what is counted.",
        "",
        f"- {found['images']} images ({where}) at {settings['size']} px, batches of {settings['batch']}; "
        f"teacher {settings['model']} {settings['encoder'] or ''}, {found['teacher_parameters']} weights; "
        f"{settings['rounds']} rounds.",
        *machine_lines(hardware),
        "",
        "| part | time |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in rows(found)),
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the files asked for."""
    default = Settings()
    parser = argparse.ArgumentParser(description="Where the time of annotating a transferal set goes.")
    parser.add_argument("--images", metavar="FOLDER", help="default: phantoms")
    parser.add_argument("--cases", type=int, default=default.cases, help="phantoms, default: 200")
    parser.add_argument("--size", type=int, default=default.size, help="default: 128")
    parser.add_argument("--batch", type=int, default=default.batch, help="default: 8")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="default: 3")
    add_threads(parser)
    add_outputs(parser)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    names = ("images", "cases", "size", "batch", "rounds")
    found = measure(Settings(**{name: getattr(given, name) for name in names}))
    hardware = machine("annotate_speed.py")
    print(text_table(found))
    save(given, {"hardware": hardware, **found}, markdown_page(found, hardware))


if __name__ == "__main__":
    main()
