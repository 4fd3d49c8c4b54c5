import os
from pathlib import Path

import numpy as np
import pytest

from meddistill.data import Source, split_cases
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.data.task import answers_images, task_of
from meddistill.errors import ConfigError, DataError
from tests.data.answers import class_tree
from tests.data.builders import write_image

DATA = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def root(tmp_path):
    return class_tree(tmp_path / "tree", classes=3)


def test_the_folder_is_the_class(root):
    source = ClassFolderSource(root)
    assert isinstance(source, Source)
    assert (task_of(source), answers_images(source)) == ("classification", True)
    assert (source.class_names, source.in_channels, source.dims) == (("healthy", "sick", "worse"), 1, 2)
    assert [int(source.read_label(case)) for case in source.cases] == [0] * 4 + [1] * 4 + [2] * 4
    case = source.cases[5]
    assert (case.id, case.group, case.stratum, case.split) == ("sick/s0_1", "sick/s0_1", "sick", None)
    label = source.read_label(case)
    assert (label.shape, label.dtype) == ((), np.int16)


def test_classes_can_be_put_in_another_order(root):
    source = ClassFolderSource(root, class_names=("worse", "sick", "healthy"))
    assert [int(source.read_label(case)) for case in source.cases[::4]] == [2, 1, 0]


def test_a_class_can_be_left_out(root):
    write_image(root / "worse/h0_0.bmp")
    source = ClassFolderSource(root, leave_out=("worse",), class_names=("sick", "healthy"))
    assert source.class_names == ("sick", "healthy")
    assert [case.stratum for case in source.cases] == ["healthy"] * 4 + ["sick"] * 4


def test_a_class_is_left_out_of_every_split(tmp_path):
    for part in ("train", "test"):
        class_tree(tmp_path / part, classes=3)
    source = ClassFolderSource(tmp_path, leave_out=("healthy",))
    assert {(case.split, case.stratum) for case in source.cases} == {
        ("train", "sick"),
        ("train", "worse"),
        ("test", "sick"),
        ("test", "worse"),
    }


def test_images_below_the_folder_of_their_class_belong_to_it(root):
    write_image(root / "sick/siteB/deep.png")
    case = next(case for case in ClassFolderSource(root).cases if case.id.endswith("deep"))
    assert (case.id, case.stratum) == ("sick/siteB/deep", "sick")


def test_folders_named_after_splits_are_the_splits(tmp_path):
    for part, folder in (("train", "a"), ("val", "b"), ("test", "c")):
        class_tree(tmp_path / part, per_class=1 + len(folder))
    source = ClassFolderSource(tmp_path)
    assert source.class_names == ("healthy", "sick")
    split = split_cases(source)
    assert {name: len(cases) for name, cases in split.cases.items()} == {
        "train": 4,
        "selection": 4,
        "calibration": 0,
        "test": 4,
    }
    assert split.cases["selection"][0].id == "val/healthy/h0_0"


def test_a_class_may_be_called_test_where_nothing_is_called_train(tmp_path):
    for name in ("test", "other"):
        write_image(tmp_path / name / f"{name}.png")
    assert ClassFolderSource(tmp_path).class_names == ("other", "test")


def test_masks_beside_images_are_left_out_and_counted(root):
    for name in ("h0_0_mask", "h0_0_mask_1"):
        write_image(root / f"healthy/{name}.png")
    write_image(root / "sick/lone_mask.png")
    source = ClassFolderSource(root)
    assert (len(source.cases), source.left_out) == (13, 2)


def test_the_pattern_names_the_patient_and_splits_keep_patients_together(root):
    source = ClassFolderSource(root, group_pattern="^([^_]+)")
    assert [case.group for case in source.cases[:4]] == ["h0", "h0", "h1", "h1"]
    split = split_cases(source, fractions={"train": 0.5, "test": 0.5})
    for cases in (split.cases["train"], split.cases["test"]):
        assert sorted({case.stratum for case in cases}) == ["healthy", "sick", "worse"]
        assert len({case.group for case in cases}) == 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16", "P"])
def test_other_kinds_of_images_and_sizes_are_read(tmp_path, mode):
    from PIL import Image

    for name in ("a/1", "b/2"):
        (tmp_path / name).parent.mkdir()
        Image.new("L" if mode == "P" else mode, (7, 5)).convert(mode).save(tmp_path / f"{name}.png")
    source = ClassFolderSource(tmp_path, channels=3)
    image = source.read_image(source.cases[0])
    assert image.shape == (3, 5, 7)
    assert image.dtype == (np.float32 if mode == "I;16" else np.uint8)


def wrong(root, what):
    if what == "one class":
        write_image(root / "sick/a.png")
    elif what == "loose":
        class_tree(root)
        write_image(root / "loose.png")
    elif what == "twice":
        class_tree(root)
        write_image(root / "sick/s0_0.bmp")
    else:
        class_tree(root)
    return root


@pytest.mark.parametrize(
    ("what", "options", "kind", "message"),
    [
        ("one class", {}, DataError, r"there is only one class \(sick\)"),
        ("loose", {}, DataError, r"loose\.png: lies in no class folder"),
        ("twice", {}, DataError, "have one name; rename one of them"),
        (
            "fine",
            {"class_names": ("healthy", "sik")},
            DataError,
            "unknown class 'sick'; did you mean 'sik'",
        ),
        ("fine", {"class_names": ("sick",)}, ConfigError, "class_names holds 'sick' alone"),
        ("fine", {"class_names": ("sick", "sick")}, ConfigError, "class_names holds 'sick' twice"),
        ("fine", {"class_names": "sick"}, ConfigError, "must be a list of names"),
        ("fine", {"leave_out": ("sik",)}, DataError, "leave_out: unknown class 'sik'; did you mean 'sick'"),
        ("fine", {"leave_out": ("sick",)}, DataError, r"there is only one class \(healthy\)"),
        ("fine", {"leave_out": "sick"}, ConfigError, "leave_out must be a list of names"),
        ("fine", {"channels": 4}, ConfigError, "channels must be 1 or 3"),
        ("fine", {"group_pattern": "^x"}, DataError, "does not match group_pattern"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, what, options, kind, message):
    root = wrong(tmp_path, what)
    with pytest.raises(kind, match=message) as caught:
        ClassFolderSource(root, **options)
    assert "\n" not in str(caught.value)


def test_a_test_set_may_lack_a_class_of_its_student(tmp_path):
    names = ("healthy", "sick", "worse")
    source = ClassFolderSource(class_tree(tmp_path), class_names=names)
    assert source.class_names == names
    assert {int(source.read_label(case)) for case in source.cases} == {0, 1}


def test_a_folder_that_is_no_class_is_named(root):
    with pytest.raises(DataError, match="unknown class 'worse'"):
        ClassFolderSource(root, class_names=("healthy", "sick"))


@pytest.mark.realdata
@pytest.mark.skipif(not (DATA / "cxr").is_dir(), reason=f"no real data in {DATA}")
def test_real_radiographs_by_patient():
    source = ClassFolderSource(DATA / "cxr", group_pattern="^([^_]+)")
    assert source.class_names == ("Covid-19", "No_findings", "Pneumonia")
    counts = [sum(case.stratum == name for case in source.cases) for name in source.class_names]
    assert counts == [124, 500, 500]
    split = split_cases(source, fractions={"train": 0.7, "selection": 0.1, "test": 0.2})
    places = {}
    for name, cases in split.cases.items():
        for case in cases:
            assert places.setdefault(case.group, name) == name
