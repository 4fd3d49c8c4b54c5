"""What users get wrong with transferal sets: one line on stderr, exit code 2, and nothing left behind."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from meddistill.cli import run
from meddistill.models import ModelSpec, save_weights
from tests.data.volumes.builders import volume_tree
from tests.mistakes import check_mistake, tree, weights
from tests.recipes import tiny


def transferred(place: Path, root: Path, *, command: str = "train", **changes: object) -> list[str]:
    """The command that transfers from `teacher.safetensors` over the images of `root`."""
    path = place / "teacher.safetensors"
    teacher = changes.pop("teacher", None) or {"path": str(path if path.exists() else weights(path))}
    source = {"kind": "images", "root": str(root), "class_names": ["background", "lesion"]}
    source |= changes.pop("source", {})
    method = {"name": "pseudo_label_transfer", "exclude": [], **changes.pop("method", {})}
    recipe = tiny(data={"source": source, **changes.pop("data", {})}, method=method, teacher=teacher)
    recipe["data"]["splits"] = {"fractions": {"train": 0.7, "selection": 0.3}}
    (place / "transfer.yaml").write_text(yaml.safe_dump({**recipe, **changes}))
    return [command, str(place / "transfer.yaml"), "-o", str(place / "out")]


def over(**changes: object):
    return lambda place: transferred(place, tree(place), **changes)


def folder_recipe(command: list[str]) -> list[str]:
    """The same without class names, which only some sources take."""
    file = Path(command[1])
    recipe = yaml.safe_load(file.read_text())
    del recipe["data"]["source"]["class_names"]
    file.write_text(yaml.safe_dump(recipe))
    return command


def labels_missing(place: Path) -> list[str]:
    root = tree(place)
    (root / "benign/benign (1)_mask.png").unlink()
    return folder_recipe(transferred(place, root, source={"kind": "folder"}))


def method_that_needs_labels(place: Path) -> list[str]:
    command = transferred(place, tree(place))
    file = Path(command[1])
    recipe = yaml.safe_load(file.read_text()) | {"method": {"name": "distillation"}}
    file.write_text(yaml.safe_dump(recipe))
    return command


def nothing_but_masks(place: Path) -> list[str]:
    root = tree(place)
    for image in root.rglob("*.png"):
        if "_mask" not in image.name:
            image.unlink()
    return transferred(place, root)


def teacher_of_other_classes(place: Path) -> list[str]:
    weights(place / "teacher.safetensors", classes=3)
    return transferred(place, tree(place))


SPEC = ModelSpec("pcd/unet", options={"width": 2}, size=(32, 32))


def grey_teacher_of_colour_images(place: Path) -> list[str]:
    return transferred(place, tree(place), source={"channels": 3})


class EvenOnly(nn.Module):
    """Joins the image with what was made half and twice its size: odd sides do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 1, 1), nn.Conv2d(2, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.first(image)
        coarse = F.interpolate(F.max_pool2d(features, 2), scale_factor=2.0)
        return self.last(torch.cat([features, coarse], 1))


def size_that_does_not_divide(place: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(EvenOnly().eval()).save(str(place / "teacher.pt"))
    return transferred(
        place, tree(place), teacher={"path": str(place / "teacher.pt")}, data={"size": [33, 32]}
    )


def broken_weights(place: Path) -> list[str]:
    network = SPEC.build()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    save_weights(network, SPEC, place / "teacher.safetensors")
    return transferred(place, tree(place))


def recorded_weights_of_a_file(place: Path) -> list[str]:
    path = str(weights(place / "teacher.safetensors"))
    teacher = {"members": [{"path": path}, {"path": path}], "weights": "validation"}
    return transferred(place, tree(place), teacher=teacher)


def all_excluded(place: Path) -> list[str]:
    rules = [{"name": "target_pixels", "alpha": 65536}]
    path = str(weights(place / "teacher.safetensors"))
    return transferred(place, tree(place), teacher={"path": path, "mode": "live"}, method={"exclude": rules})


def lone_teacher_in_disagreement(place: Path) -> list[str]:
    rules = [{"name": "disagreement", "at_most": 0.1}]
    return transferred(place, tree(place), method={"exclude": rules})


def masks_that_are_there(place: Path) -> list[str]:
    (place / "set").mkdir()
    return [*transferred(place, tree(place), command="annotate"), "--masks", str(place / "set")]


def masks_of_volumes(place: Path) -> list[str]:
    root = volume_tree(place / "heart", shape=(6, 8, 7))
    source = {"kind": "volumes", "slices": True, "classes": {"background": 0, "ventricle": [1, 2, 3]}}
    command = folder_recipe(transferred(place, root, source=source, command="annotate"))
    return [*command, "--masks", str(place / "set")]


MISTAKES = {
    "labels missing": (labels_missing, ["image without mask", "benign (1)", "kind images"]),
    "labels needed": (method_that_needs_labels, ["images without labels", "pseudo_label_transfer"]),
    "masks alone": (nothing_but_masks, ["nothing but 18 files named as masks"]),
    "other classes": (teacher_of_other_classes, ["knows 3 classes and the data have 2"]),
    "grey teacher": (grey_teacher_of_colour_images, ["takes 1 channels and the images have 3"]),
    "odd size": (size_that_does_not_divide, ["teacher.pt", "cannot take images of shape", "33, 32", "size"]),
    "broken weights": (broken_weights, ["NaN or infinity"]),
    "floor": (
        lambda place: [*transferred(place, tree(place)), "--teacher-floor", "0.5"],
        ["teacher.floor", "no labels of these images are read"],
    ),
    "recorded weights": (recorded_weights_of_a_file, ["teacher.weights", "no run with a score", "uniform"]),
    "all excluded": (all_excluded, ["no case", "target_pixels removed 18 of 18"]),
    "lone teacher": (lone_teacher_in_disagreement, ["disagreement compares several teachers"]),
    "unknown rule": (over(method={"exclude": [{"name": "target_pixel"}]}), ["did you mean 'target_pixels'"]),
    "supervision": (
        lambda place: folder_recipe(
            transferred(
                place,
                tree(place),
                source={"kind": "folder"},
                data={"supervision": {"full_groups": 2, "full_per_batch": 1}},
            )
        ),
        ["data.supervision", "learns from teachers alone"],
    ),
    "masks there": (masks_that_are_there, ["set exists already"]),
    "masks of volumes": (masks_of_volumes, ["masks of plain images", "volumes"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(name, tmp_path, capfd, monkeypatch):
    make, says = MISTAKES[name]
    command = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    check_mistake(command, says, tmp_path, capfd)


def test_labels_that_are_there_are_left_unopened(tmp_path, capfd):
    root = tree(tmp_path)
    for mask in root.rglob("*_mask.png"):
        mask.write_bytes(b"never opened")
    assert run(transferred(tmp_path, root)) == 0
    assert "no labels of these images are read" in capfd.readouterr().out
