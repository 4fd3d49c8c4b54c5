"""What users get wrong: each mistake is one line on stderr and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meddistill.cli import run
from tests.data.builders import manifest, png_bomb, truncate, write_json
from tests.mistakes import (
    RunsCode,
    check_mistake,
    made_run,
    on_folder,
    raw_pickle,
    script_program,
    torch_pickle,
    train,
    tree,
    weights,
)
from tests.recipes import PACED, write_recipe

Making = Callable[[Path], list[str]]
ONE = "benign/benign (1)"
LISTS = {"files": {"train": "train.json", "test": "test.json"}, "fractions": None}


def broken(breaking: Callable[[Path], object]) -> Making:
    """Train on a good tree after `breaking(tree)`."""

    def make(place: Path) -> list[str]:
        root = tree(place)
        breaking(root)
        return train(place, data=on_folder(root))

    return make


def trained_with(*options: str, **changes: object) -> Making:
    return lambda place: train(place, *options, **changes)


def missing_folder(place: Path) -> list[str]:
    return train(place, data=on_folder(place / "nowhere"))


def empty_folder(place: Path) -> list[str]:
    (place / "data").mkdir()
    return train(place, data=on_folder(place / "data"))


def label_out_of_range(place: Path) -> list[str]:
    root = tree(place)
    Image.fromarray(np.full((40, 36), 7, np.uint8)).save(root / f"{ONE}_mask.png")
    rows = [
        {"image": f"{ONE.replace('(1)', f'({n})')}.png", "label": f"{ONE}_mask.png", "split": split}
        for n, split in enumerate(("train", "selection", "test"), start=1)
    ]
    file = manifest(root / "list.csv", rows)
    source = {"kind": "manifest", "file": str(file), "class_names": ["background", "lesion"]}
    return train(place, data={"source": source, "splits": {"fractions": None}})


def split_list(content: bytes | None) -> Making:
    def make(place: Path) -> list[str]:
        root = tree(place)
        if content is not None:
            (root / "train.json").write_bytes(content)
        write_json(root / "test.json", [f"{ONE}.png"])
        return train(place, data={**on_folder(root), "splits": LISTS})

    return make


def leaking_groups(place: Path) -> list[str]:
    root = tree(place)
    for name, numbers in (("train", (1, 2, 3)), ("test", (4, 5))):
        write_json(root / f"{name}.json", [f"benign/benign ({n}).png" for n in numbers])
    return train(place, data={**on_folder(root, group_pattern="^[a-z]+"), "splits": LISTS})


def taught_by(path: Path | str, place: Path, **teacher: object) -> list[str]:
    return train(place, teacher={"path": str(path), **teacher}, method={"name": "distillation"})


def teacher_of_other_classes(place: Path) -> list[str]:
    return taught_by(weights(place / "three.safetensors", classes=3), place)


def teacher_that_is_text(name: str) -> Making:
    def make(place: Path) -> list[str]:
        (place / name).write_text("these are no weights")
        model = {"name": "pcd/unet", "options": {"width": 2}}
        return train(
            place, teacher={"path": str(place / name), "model": model}, method={"name": "distillation"}
        )

    return make


def malicious_teacher(write: Callable[[object, Path], None]) -> Making:
    def make(place: Path) -> list[str]:
        write(RunsCode(place / "ran"), place / "teacher.pt")
        return taught_by(place / "teacher.pt", place)

    return make


def malicious_program(place: Path) -> list[str]:
    script_program(place / "ran", place / "teacher.pt")
    (place / "ran").unlink(missing_ok=True)
    return taught_by(place / "teacher.pt", place)


def ensemble(*members: dict[str, object], **options: object) -> Making:
    """Train with members whose `path` is a network of two classes where they name none."""

    def make(place: Path) -> list[str]:
        path = str(weights(place / "two.safetensors"))
        teacher = {"members": [{"path": path, **member} for member in members], **options}
        return train(place, teacher=teacher, method={"name": "distillation"})

    return make


def class_map(*entries: object) -> Making:
    def make(place: Path) -> list[str]:
        path = str(weights(place / "three.safetensors", classes=3))
        return train(
            place, teacher={"path": path, "class_map": list(entries)}, method={"name": "distillation"}
        )

    return make


def missing_teacher(place: Path) -> list[str]:
    return taught_by(place / "runs" / "iid-s0", place)


def unfinished_teacher(place: Path) -> list[str]:
    return taught_by(made_run(place / "teacher", state="running"), place)


def annotated(place: Path, *options: str) -> list[str]:
    """A good store, and the command that would write into it again."""
    teacher = {"path": str(weights(place / "teacher.safetensors"))}
    command = ["annotate", str(write_recipe(place, teacher=teacher)), "-o", str(place / "store")]
    assert run(command) == 0
    return [*command, *options]


def annotating(*options: str) -> Making:
    return lambda place: annotated(place, *options)


def cut_off_store(place: Path) -> list[str]:
    annotated(place)
    os.truncate(place / "store" / "values.npy", 1000)
    return taught_by(place / "teacher.safetensors", place, store=str(place / "store"))


def store_of_another_teacher(place: Path) -> list[str]:
    annotated(place)
    other = weights(place / "other.safetensors")
    return taught_by(other, place, store=str(place / "store"))


def annotate_without_teacher(place: Path) -> list[str]:
    return ["annotate", str(write_recipe(place)), "-o", str(place / "store")]


def supervised(**section: object) -> Making:
    """Train with mixed supervision."""
    usual = {"full_groups": 4, "full_per_batch": 2, "weak": {"kind": "disc"}}
    return lambda place: train(place, data={"supervision": {**usual, **section}})


def existing_run(place: Path) -> list[str]:
    made_run(place / "out")
    return train(place)


def other_recipe(place: Path) -> list[str]:
    made_run(place / "out", state="running")
    return train(place, "--resume", training={"lr": 0.5})


def file_as_output(place: Path) -> list[str]:
    (place / "out").write_text("precious")
    return train(place)


def foreign_folder(place: Path) -> list[str]:
    (place / "out").mkdir()
    (place / "out" / "precious.txt").write_text("keep")
    return train(place, "--resume")


def recipe_text(text: str | bytes) -> Making:
    def make(place: Path) -> list[str]:
        file = place / "mine.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["train", str(file), "-o", str(place / "out")]

    return make


def predicted(place: Path, *, out: str = "out") -> list[str]:
    run_folder = made_run(place / "run")
    tree(place)
    return ["predict", str(run_folder), str(place / "data"), "-o", str(place / out)]


def predict_into_a_file(place: Path) -> list[str]:
    (place / "taken").write_text("precious")
    return predicted(place, out="taken/masks")


def predict_among_the_images(place: Path) -> list[str]:
    return predicted(place, out="data")


def compare_different_cases(place: Path) -> list[str]:
    runs = [made_run(place / "iid", dice=(0.1, 0.2)), made_run(place / "kd", dice=(0.1, 0.2, 0.3))]
    return ["compare", *map(str, runs)]


def compare_what_is_no_run(place: Path) -> list[str]:
    (place / "kd").mkdir()
    return ["compare", str(made_run(place / "iid", dice=(0.1, 0.2))), str(place / "kd")]


def compare_unscored(place: Path) -> list[str]:
    return ["compare", str(made_run(place / "iid", dice=(0.1, 0.2))), str(made_run(place / "kd"))]


def on_run(*words: str, state: str = "finished") -> Making:
    """A command on a run folder, whose place in it is `RUN`."""

    def make(place: Path) -> list[str]:
        made_run(place / "run", state=state)
        return [str(place / "run") if word == "RUN" else word for word in words]

    return make


def without_run(*words: str) -> Making:
    return lambda place: [str(place / "nothing") if word == "RUN" else word for word in words]


def typed(*words: str) -> Making:
    return lambda place: list(words)


def on_images(making: Callable[[Path], object], **source: object) -> Making:
    """Train on images without labels, after `making(folder)`."""

    def make(place: Path) -> list[str]:
        root = place / "data"
        root.mkdir()
        making(root)
        return train(place, data={"source": {"kind": "images", "root": str(root), **source}})

    return make


def grey(root: Path, *names: str) -> None:
    for name in names:
        Image.new("L", (40, 36), 90).save(root / name)


def with_set(name: str = "far", **changes: object) -> Making:
    """Train with a further test set, a good tree unless `changes` say otherwise."""

    def make(place: Path) -> list[str]:
        far = {"source": {"kind": "folder", "root": str(tree(place))}, **changes}
        return train(place, tests={name: far})

    return make


def set_without_labels(place: Path) -> list[str]:
    return train(place, tests={"far": {"source": {"kind": "images", "root": str(tree(place))}}})


def set_that_is_trained_on(place: Path) -> list[str]:
    own = on_folder(tree(place))
    return train(place, data=own, tests={"far": own})


def attacked(**changes: object) -> Making:
    """Train with one attack, a good one unless `changes` say otherwise."""
    attack = {"kind": "pgd", "eps": 2, **changes}
    return lambda place: train(place, attacks={"pgd": attack})


def attacked_twice(place: Path) -> list[str]:
    far = {"source": {"kind": "folder", "root": str(tree(place))}}
    return train(place, tests={"far": far}, attacks={"far": {"kind": "fgsm", "eps": 1}})


def study_without_data(place: Path) -> list[str]:
    recipe = write_recipe(
        place, data=on_folder(place / "nowhere"), study={"rows": {"iid": {}}, "baseline": "iid"}
    )
    return ["study", str(recipe), "-o", str(place / "out")]


def inspect_leaks(place: Path) -> list[str]:
    root = tree(place)
    rows = [
        {"image": f"benign/benign ({n}).png", "group": "patient 7", "split": split}
        for n, split in ((1, "train"), (2, "test"))
    ]
    file = manifest(root / "list.csv", rows)
    return ["inspect", str(file), "--class_names", "[background, lesion]"]


MISTAKES: list[tuple[str, Making, list[str]]] = [
    # data
    ("missing folder", missing_folder, ["data.source.root", "nowhere", "does not exist"]),
    ("empty folder", empty_folder, ["data", "holds no images"]),
    ("mask without image", broken(lambda root: (root / f"{ONE}.png").unlink()), ["mask without image", ONE]),
    (
        "image without mask",
        broken(lambda root: (root / f"{ONE}_mask.png").unlink()),
        ["image without mask", ONE],
    ),
    (
        "size mismatch",
        broken(lambda root: Image.new("L", (9, 9)).save(root / f"{ONE}_mask.png")),
        [f"{ONE}_mask.png", "9 x 9", "40 x 36"],
    ),
    ("label value out of range", label_out_of_range, [f"{ONE}_mask.png", "label value 7", "0..1"]),
    ("truncated PNG", broken(lambda root: truncate(root / f"{ONE}.png")), [ONE, "truncated"]),
    (
        "zero-byte file",
        broken(lambda root: (root / f"{ONE}.png").write_bytes(b"")),
        [ONE, "0 bytes"],
    ),
    ("bomb", broken(lambda root: png_bomb(root / f"{ONE}.png")), [f"{ONE}.png", "refused without decoding"]),
    (
        "small bomb",
        broken(lambda root: png_bomb(root / f"{ONE}.png", 10_000, 10_000)),
        [f"{ONE}.png", "refused without decoding"],
    ),
    (
        "text called PNG",
        broken(lambda root: (root / f"{ONE}.png").write_text("text")),
        ["not a readable"],
    ),
    ("missing split list", split_list(None), ["train.json", "cannot be read"]),
    ("split list not JSON", split_list(b"[1, "), ["train.json", "not JSON"]),
    ("binary split list", split_list(bytes(range(256))), ["train.json", "not JSON"]),
    ("split list of numbers", split_list(b"[1, 2]"), ["train.json", "list of image names"]),
    ("unknown case in a list", split_list(b'["benign/x.png"]'), ["train.json", "benign/x", "unknown"]),
    (
        "a case in two lists",
        split_list(f'["{ONE}.png"]'.encode()),
        ["train.json", ONE, "also listed"],
    ),
    ("leaking groups", leaking_groups, ["groups that leak", "benign", "train, test"]),
    ("images of masks alone", on_images(lambda root: grey(root, "a_mask.png")), ["nothing but 1 files"]),
    ("no images at all", on_images(lambda _: None), ["data", "holds no images"]),
    (
        "two images of one name",
        on_images(lambda root: grey(root, "a.png", "a.bmp")),
        ["a.png", "a.bmp has the same name"],
    ),
    (
        "group pattern that does not match",
        on_images(lambda root: grey(root, "a.png"), group_pattern="^z"),
        ["a.png", "does not match group_pattern '^z'"],
    ),
    (
        "one class of unlabelled images",
        on_images(lambda root: grey(root, "a.png"), class_names=["background"]),
        ["data.source.class_names", "at least 2 items"],
    ),
    (
        "labels that are not there",
        on_images(lambda root: grey(root, "a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g.png")),
        ["images without labels", "pseudo_label_transfer"],
    ),
    ("part that is not there", trained_with("--data.splits.part", "{index: 3, of: 3}"), ["give 0 to 2"]),
    ("one part", trained_with("--data.splits.part", "{index: 0, of: 1}"), ["splits.part.of", "2"]),
    ("too many parts", trained_with("--data.splits.part", "{index: 0, of: 99}"), ["too few groups (16)"]),
    (
        "fraction above 1",
        trained_with("--data.splits.fraction", "25"),
        ["splits.fraction", "equal to 1"],
    ),
    ("fraction of nothing", trained_with("--data.splits.fraction", "0"), ["data.splits.fraction"]),
    # further test sets
    ("test set called test", with_set("test"), ["tests.test", "name of a split"]),
    ("test set called Train", with_set("Train"), ["tests.Train", "name of a split"]),
    ("test set called a path", with_set("../far"), ["'../far' cannot name files"]),
    ("test set without labels", set_without_labels, ["tests.far.source", "without labels"]),
    ("test set that is trained on", set_that_is_trained_on, ["tests.far", "that the student learns from"]),
    (
        "test set that is not there",
        with_set(source={"kind": "folder", "root": "nowhere"}),
        ["tests.far.source.root", "nowhere does not exist"],
    ),
    (
        "key of a test set",
        with_set(source={"kind": "folder", "root": "x", "chanels": 1}),
        ["tests.far.source.chanels", "did you mean 'channels'"],
    ),
    (
        "list of a test set",
        with_set(splits={"files": {"test": "list.json"}}),
        ["list.json", "cannot be read"],
    ),
    (
        "part of a test set",
        with_set(splits={"part": {"index": 2, "of": 2}}),
        ["far.splits.part.index"],
    ),
    ("test set of one number", trained_with("--tests.far", "3"), ["tests.far"]),
    # attacks
    ("negative attack", attacked(eps=-1), ["attacks.pgd.eps", "-1 is no strength", "grey levels"]),
    ("attack beyond white", attacked(eps=[1, 300]), ["attacks.pgd.eps", "300 is no strength"]),
    ("unknown attack", attacked(kind="cw"), ["attacks.pgd", "'cw'", "'fgsm', 'pgd'"]),
    ("attack on no test set", attacked(of="far"), ["attacks.pgd.of", "unknown test set 'far'"]),
    ("attack called as a test set", attacked_twice, ["attacks.far", "the test set far", "another name"]),
    ("leaks found by inspect", inspect_leaks, ["1 of the findings above", "error"]),
    ("inspect of nothing", typed("inspect", "data/busi"), ["data/busi", "does not exist"]),
    ("inspect of no CSV", typed("inspect", "list.csv"), ["list.csv", "does not exist"]),
    ("inspect of no recipe", typed("inspect", "pcd-bussi"), ["did you mean 'pcd-busi'"]),
    (
        "more full groups than there are",
        supervised(full_groups=99),
        ["full_groups is 99", "16 groups with full labels"],
    ),
    ("more full cases than a batch", supervised(full_per_batch=9), ["full_per_batch is 9", "4 cases"]),
    ("unknown weak label", supervised(weak={"kind": "scribbel"}), ["'scribbel'", "did you mean 'scribble'"]),
    ("weak labels without files", supervised(weak={"kind": "file"}), ["kind file", "column weak"]),
    # recipes and options
    ("unknown model", trained_with(model={"name": "pcd/unte"}), ["'pcd/unte'", "'pcd/unet'"]),
    ("unknown key", trained_with("--training.epoch", "3"), ["training.epoch", "did you mean 'epochs'"]),
    (
        "key of another section",
        trained_with("--epochs", "3"),
        ["did you mean 'data.clean.epochs' or 'training.epochs'"],
    ),
    ("unknown method option", trained_with(method=PACED | {"bta": 0.5}), ["'bta'", "did you mean 'beta'"]),
    ("wrong type", trained_with("--training.lr", "fast"), ["training.lr", "'fast'", "number"]),
    ("wrong type of a method", trained_with(method=PACED | {"beta": "high"}), ["beta", "'high'"]),
    ("method is text", trained_with("--method", "paced"), ["method", "'paced'"]),
    (
        "option that a method lacks",
        trained_with("--method.beta", "1"),
        ["supervised", "'beta'", "class_weights"],
    ),
    ("method without name", trained_with(method={"name": None}), ["method.name", "required"]),
    ("negative epochs", trained_with("--training.epochs", "-3"), ["training.epochs", "greater than 0", "-3"]),
    ("beta above 1", trained_with(method=PACED | {"beta": 1.5}), ["beta", "0..1", "1.5"]),
    ("beta below 0", trained_with(method=PACED | {"beta": -0.1}), ["beta", "0..1", "-0.1"]),
    ("width is text", trained_with("--model.options.width", "wide"), ["width", "wide"]),
    ("missing recipe", typed("train", "mine.yaml", "-o", "x"), ["mine.yaml", "does not exist"]),
    (
        "missing recipe file",
        typed("train", "my/pcd.yaml", "-o", "x"),
        ["my/pcd.yaml", "does not exist"],
    ),
    ("unknown recipe", typed("train", "pcd-bussi", "-o", "x"), ["did you mean 'pcd-busi'"]),
    ("recipe not YAML", recipe_text("name: [1"), ["mine.yaml", "not valid YAML"]),
    ("recipe is a list", recipe_text("- 1"), ["mine.yaml", "mapping"]),
    ("empty recipe", recipe_text(""), ["mine.yaml", "mapping"]),
    ("binary recipe", recipe_text(bytes(range(256))), ["mine.yaml"]),
    (
        "recipe with code",
        recipe_text("name: !!python/object/apply:os.getcwd []"),
        ["not valid YAML"],
    ),
    ("unknown row", typed("train", "pcd-busi", "--row", "tlp", "-o", "x"), ["'tlp'", "'tpl'"]),
    ("unknown subcommand", typed("trian", "pcd-busi"), ["'trian'", "'train'"]),
    ("unknown option", typed("evaluate", "runs/a", "--splt", "test"), ["--splt", "--split"]),
    ("unknown flag", trained_with("--resum"), ["--resum", "did you mean '--resume'"]),
    ("flag before a key", trained_with("--resum", "--seed", "1"), ["--resum", "did you mean '--resume'"]),
    ("missing option", typed("train", "pcd-busi"), ["--out", "meddistill train --help"]),
    ("missing argument", typed("predict", "-o", "x"), ["run", "meddistill predict --help"]),
    ("option not a number", typed("demo", "--jobs", "many"), ["--jobs", "integer"]),
    ("phantom below its size", typed("data", "phantom", "-o", "x", "--size", "3"), ["--size", "32"]),
    ("unknown data set", typed("data", "fetch", "bussi", "-o", "x"), ["did you mean 'busi'"]),
    ("study without data", study_without_data, ["data.source.root", "nowhere", "does not exist"]),
    ("study of a plain recipe", lambda place: ["study", *train(place)[1:]], ["no study section"]),
    (
        "no such hardware",
        trained_with(training={"strategy": "fsdp", "accelerator": "cpu"}),
        ["'fsdp'"],
    ),
    # teachers
    ("teacher with other class count", teacher_of_other_classes, ["three", "3", "2"]),
    ("teacher missing", missing_teacher, ["iid-s0", "missing"]),
    ("teacher unfinished", unfinished_teacher, ["teacher", "unfinished"]),
    (
        "teacher not given",
        trained_with(method={"name": "distillation"}),
        ["needs a teacher", "--teacher"],
    ),
    ("teacher is text", teacher_that_is_text("teacher.pt"), ["teacher.pt", "not a checkpoint"]),
    ("teacher is no safetensors", teacher_that_is_text("a.safetensors"), ["a.safetensors", "damaged"]),
    ("teacher of unknown kind", teacher_that_is_text("teacher.doc"), ["teacher.doc", "no weights file"]),
    ("pickle that runs code", malicious_teacher(raw_pickle), ["teacher.pt", "holds Python code"]),
    ("checkpoint that runs code", malicious_teacher(torch_pickle), ["teacher.pt", "holds Python code"]),
    # stored logits
    ("store of another teacher", store_of_another_teacher, ["store", "other teacher weights"]),
    ("store that was cut off", cut_off_store, ["values.npy", "was cut off (1000 of"]),
    ("other normalisation", annotating("--teacher.mean", "[0.3]"), ["store", "preprocessing has changed"]),
    (
        "other image size",
        annotating("--data.size", "[40, 40]"),
        ["store", "size changed from 32x32 to 40x40"],
    ),
    ("other images", annotating("--data.source.seed", "5"), ["store", "the images of 16 cases have changed"]),
    ("other batches", annotating("--training.batch_size", "3"), ["store", "was begun for 16 cases"]),
    ("replay without views", annotating("--teacher.mode", "replay"), ["data.augment is none"]),
    ("annotating for live", annotating("--teacher.mode", "live"), ["stores nothing"]),
    ("no such shard", annotating("--shard", "3/2"), ["--shard", "'3/2'", "1/4"]),
    ("no such split", annotating("--split", "tset"), ["'tset'", "'test'"]),
    ("more classes than there are", annotating("--teacher.top_k", "3"), ["top_k is 3", "1 to 2"]),
    ("below the floor", annotating("--teacher.floor", "0.99"), ["floor of 0.99"]),
    ("annotating without teacher", annotate_without_teacher, ["needs a teacher", "--teacher.path"]),
    ("program that runs code", malicious_program, ["teacher.pt", "runs code while it is loaded"]),
    ("class never used", class_map(0, 1), ["three", "class 2 of the network unused", "[[0, 2], 1]"]),
    ("class used twice", class_map(0, [1, 2, 2]), ["class 2 of the network twice"]),
    ("class unknown to a lone teacher", class_map([0, 1, 2], None), ["does not know class 1", "ensemble"]),
    ("member without a source", ensemble({"path": None}), ["teacher.members.0", "path", "row"]),
    ("member row outside a study", ensemble({"path": None, "row": "iid"}), ["needs a teacher", "'iid'"]),
    ("weights for other members", ensemble({}, {}, weights=[1.0]), ["teacher.weights", "2 members"]),
    ("unknown weights", ensemble({}, weights="dice"), ["teacher.weights", "'validation'", "'dice'"]),
    ("weights without members", trained_with(teacher={"weights": [1.0]}), ["give teacher.members"]),
    ("member among lone keys", ensemble({}, path="x"), ["teacher.path", "teacher.members"]),
    ("floor above 1", trained_with("--teacher-floor", "2"), ["--teacher-floor", "less than or equal to 1"]),
    ("student that does not segment", trained_with(model={"name": "timm/resnet18"}), ["once per image"]),
    # folders
    ("existing run", existing_run, ["out", "exists", "--resume"]),
    ("resume by another recipe", other_recipe, ["another recipe", "training"]),
    ("output is a file", file_as_output, ["out", "is a file"]),
    ("output is another folder", foreign_folder, ["out", "not a run folder"]),
    ("evaluate unfinished", on_run("evaluate", "RUN", state="running"), ["run", "not finished", "--resume"]),
    ("evaluate nothing", without_run("evaluate", "RUN"), ["nothing", "not a run folder"]),
    ("unknown split", on_run("evaluate", "RUN", "--split", "tset"), ["'tset'", "'test'"]),
    ("report of nothing", without_run("report", "RUN"), ["nothing", "not a folder"]),
    ("predict into a file", predict_into_a_file, ["taken", "cannot write"]),
    ("predict among the images", predict_among_the_images, ["among the images"]),
    ("predict without run", without_run("predict", "RUN", ".", "-o", "x"), ["nothing", "run folder"]),
    ("predict without images", on_run("predict", "RUN", "RUN", "-o", "x"), ["holds no images"]),
    ("compare different cases", compare_different_cases, ["iid", "kd", "different cases", "c2"]),
    ("compare with no run", compare_what_is_no_run, ["kd", "not a run folder"]),
    ("compare with an unscored run", compare_unscored, ["kd", "evaluate"]),
    ("compare one run", on_run("compare", "RUN"), ["two rows"]),
    ("compare without a margin", on_run("compare", "RUN", "--margin", "0"), ["margin 0.0", "above 0"]),
    ("compare one run twice", on_run("compare", "RUN", "RUN"), ["run", "given twice"]),
]


@pytest.mark.parametrize(
    ("make", "says"), [pytest.param(make, says, id=name) for name, make, says in MISTAKES]
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(make, says, tmp_path, capfd, monkeypatch):
    command = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    check_mistake(command, says, tmp_path, capfd)
