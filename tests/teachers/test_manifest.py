"""What a store was made from: any change is refused, and named."""

import json
from pathlib import Path

import pytest

from meddistill.errors import TeacherError
from meddistill.teachers.manifest import Manifest, Views, check_same
from tests.teachers.stores import manifest

FLIPS = Views("flip", 4, 0, {"monai": "1.6.1"})

CHANGES = {
    "weights": ({"weights": "x" * 64}, "outputs of other teacher weights (those of 'tutor' then)"),
    "preprocessing": ({"preprocessing": "x" * 64}, "the teacher's preprocessing has changed"),
    "size": ({"size": (8, 8)}, "the images' size changed from 6x5 to 8x8"),
    "channels": ({"channels": 3}, "the images' channels changed from 1 to 3"),
    "interpolation": ({"interpolation": "nearest"}, "interpolation changed from area to nearest"),
    "classes": ({"classes": ("a", "b")}, "the classes changed from class 0, class 1 to a, b"),
    "encoding": ({"encoding": "uint8"}, "the encoding changed from float16 to uint8"),
    "top_k": ({"top_k": 1}, "top_k changed from None to 1"),
    "views": ({"views": FLIPS}, "the augmented views changed from None to 4 views of 'flip' with seed 0"),
    "code": ({"code": "9.9"}, "the version of meddistill changed from 0.1.0 to 9.9"),
    "new case": ({"cases": (("new", "0"),)}, "the data have 1 case that it lacks, first new"),
    "changed image": (
        {"cases": (("case 3", "0" * 63 + "f"),)},
        "the images of 1 case have changed, first case 3",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named(name):
    changes, said = CHANGES[name]
    with pytest.raises(TeacherError, match="teacher store here does not fit: ") as caught:
        check_same(manifest(), manifest(**changes), Path("here"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_changes_are_all_named():
    with pytest.raises(TeacherError) as caught:
        check_same(manifest(), manifest(weights="x", channels=3), Path("here"))
    assert "other teacher weights" in str(caught.value)
    assert "channels changed" in str(caught.value)


def test_more_cases_and_another_order_are_fine():
    for cases in ((), manifest().cases[7:2:-1], manifest().cases):
        check_same(manifest(), manifest(cases=cases), Path("here"))


def test_the_name_of_the_teacher_and_the_batch_size_do_not_change_what_is_stored():
    check_same(manifest(), manifest(teacher="other", batch_size=64), Path("here"))


@pytest.mark.parametrize("described", [manifest(), manifest(classes=20, views=FLIPS, size=())])
def test_it_survives_json(described):
    text = json.dumps(described.to_json())
    again = Manifest.from_json(json.loads(text), Path("here"))
    assert again == described
    assert again.key == described.key


def test_the_key_follows_everything():
    keys = {manifest(**changes).key for changes, _ in CHANGES.values()}
    assert len(keys | {manifest().key}) == len(CHANGES) + 1


def test_views_multiply_the_rows():
    assert (manifest().rows, manifest(views=FLIPS).rows) == (10, 40)
