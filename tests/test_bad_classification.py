"""Labels of whole images that cannot be used are one line and exit code 2; other kinds of images work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from meddistill.cli import run
from meddistill.evaluation import AnswerTable
from meddistill.training.run_folder import RunFolder, read_json
from tests import answer_recipes
from tests.data.answers import class_tree
from tests.data.builders import manifest, write_image
from tests.mistakes import check_mistake, weights

Making = Callable[[Path], dict[str, Any]]
FOLDERS = {"train": "train", "selection": "val", "test": "test"}
OWN_SPLITS = {"splits": {"fractions": None}}


def classes(place: Path, breaking: Callable[[Path], object], **changes: Any) -> dict[str, Any]:
    """A recipe over a good tree of classes, after `breaking(tree)`."""
    recipe = answer_recipes.classes(place, **changes)
    breaking(Path(recipe["data"]["source"]["root"]))
    return recipe


def broken(breaking: Callable[[Path], object], **changes: Any) -> Making:
    return lambda place: classes(place, breaking, **changes)


def one_class(root: Path) -> None:
    for name in ("sick", "worse"):
        shutil.rmtree(root / name)


def split_folders(place: Path, lacking: str) -> dict[str, Any]:
    """Folders that are splits; the one called `lacking` has no image of the class `worse`."""
    recipe = answer_recipes.classes(place, data=OWN_SPLITS)
    del recipe["data"]["source"]["group_pattern"]  # the patients of all splits have the same names
    root = Path(recipe["data"]["source"]["root"])
    shutil.rmtree(root)
    for split, folder in FOLDERS.items():
        class_tree(root / folder, per_class=8, classes=2 if split == lacking else 3)
    return recipe


def listed_labels(*texts: str, **source: Any) -> Making:
    """A table of images with these lists of labels, each of them three times."""

    def make(place: Path) -> dict[str, Any]:
        recipe = answer_recipes.labels(place, data={"source": source})
        names = [f"{number:03}.png" for number in range(3 * len(texts))]
        rows = [
            {"Image Index": name, "Finding Labels": texts[number % len(texts)], "Patient ID": str(number)}
            for number, name in enumerate(names)
        ]
        manifest(Path(recipe["data"]["source"]["file"]), rows)
        return recipe

    return make


def noise(*names: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        for number, name in enumerate(names):
            image = np.random.default_rng(number).integers(0, 255, (20, 20), dtype=np.uint8)
            write_image(root / name, image)

    return write


def deep(grey: Image.Image) -> Image.Image:
    return Image.fromarray(np.array(grey).astype(np.uint16) * 257)


def changed(change: Callable[[Image.Image], Image.Image], *, every: int = 1) -> Callable[[Path], None]:
    """Saves every so many images as `change` makes them."""

    def apply(root: Path) -> None:
        for path in sorted(root.rglob("*.png"))[::every]:
            with Image.open(path) as image:
                image.load()
            change(image).save(path)

    return apply


def member_that_answers_for_pixels(place: Path) -> dict[str, Any]:
    members = [{"path": str(weights(place / name, classes=3))} for name in ("a.safetensors", "b.safetensors")]
    return answer_recipes.classes(place, method={"name": "stochastic"}, teacher={"members": members})


MISTAKES: list[tuple[str, Making, list[str]]] = [
    ("one class alone", broken(one_class), ["there is only one class (healthy)", "at least two"]),
    (
        "class without a training image",
        lambda place: split_folders(place, "train"),
        ["the train split has no image of worse"],
    ),
    (
        "folder that is no class",
        broken(noise("other/a.png"), data={"source": {"class_names": ["healthy", "sick", "worse"]}}),
        ["other/a.png", "unknown class 'other'"],
    ),
    (
        "class without a folder",
        broken(noise(), data={"source": {"class_names": ["healthy", "sick", "worse", "dead"]}}),
        ["the train split has no image of dead"],
    ),
    ("image beside the class folders", broken(noise("a.png")), ["a.png", "lies in no class folder"]),
    (
        "unknown label",
        listed_labels("top", "bottom|tpo", class_names=["top", "bottom"]),
        ["line 3", "unknown label 'tpo'", "did you mean 'top'"],
    ),
    ("no label", listed_labels("top", "bottom", ""), ["line 4", "the label is empty; give one"]),
    ("images of two bit depths", broken(changed(deep, every=2)), ["differ in bit depth"]),
    ("empty label", listed_labels("top", "bottom||top"), ["line 3", "holds an empty label"]),
    ("label beside none", listed_labels("top", "bottom|No Finding"), ["names a label beside 'No Finding'"]),
    ("one label alone", listed_labels("top", "No Finding"), ["there is only one label (top)"]),
    (
        "method of maps",
        broken(noise(), method={"name": "paced", "mode": "tpl"}),
        ["paced learns from maps", "stochastic", "label_smoothing", "co_teaching"],
    ),
    (
        "teachers that answer for pixels",
        member_that_answers_for_pixels,
        ["labels of whole images", "a teacher that answers for each pixel; give one that answers once"],
    ),
    (
        "smoothing out of range",
        lambda place: answer_recipes.labels(place, method={"name": "label_smoothing", "smoothing": 2}),
        ["smoothing must lie in 0..1"],
    ),
]


def trained(place: Path, recipe: dict[str, Any]) -> list[str]:
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return ["train", str(place / "recipe.yaml"), "-o", str(place / "out")]


@pytest.mark.parametrize(
    ("make", "says"), [pytest.param(make, says, id=name) for name, make, says in MISTAKES]
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(make, says, tmp_path, capfd):
    check_mistake(trained(tmp_path, make(tmp_path)), says, tmp_path, capfd)


@pytest.mark.parametrize("split", ["selection", "test"])
def test_a_class_may_be_absent_from_what_is_only_scored(tmp_path, split):
    recipe = split_folders(tmp_path, split)
    recipe["training"]["epochs"] = 1
    assert run(trained(tmp_path, recipe)) == 0
    counts = read_json(RunFolder(tmp_path / "out").summary())["counts"]
    assert counts["absent_classes"] == (1 if split == "test" else 0)


def test_blanks_in_lists_of_labels_do_not_matter(tmp_path):
    recipe = listed_labels("top", "top | bottom ", " No  Finding", "bottom", "bottom |top")(tmp_path)
    recipe["training"]["epochs"] = 1
    assert run(trained(tmp_path, recipe)) == 0
    assert AnswerTable.read_csv(RunFolder(tmp_path / "out").scores()).class_names == ("bottom", "top")


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "not square": lambda grey: grey.resize((40, 23)),
    "16 bits": deep,
    "RGBA": lambda grey: Image.merge("RGBA", [grey] * 4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_shapes_depths_and_alpha_are_read(tmp_path, kind):
    recipe = classes(tmp_path, changed(KINDS[kind]), training={"epochs": 1})
    assert run(trained(tmp_path, recipe)) == 0
    assert read_json(RunFolder(tmp_path / "out").summary())["counts"]["cases"] > 0
