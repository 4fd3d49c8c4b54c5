"""A store: what is written comes back; anything else is noticed and said."""

import json
import os

import numpy as np
import pytest
import torch

from meddistill.errors import DataError, RunError, TeacherError
from meddistill.teachers.manifest import Views
from meddistill.teachers.store import TeacherStore, bytes_per_row
from tests.mistakes import snapshot
from tests.teachers.stores import SIZE, Tutor, content, images, manifest, stored, write

ENCODINGS = [("float16", 3e-4), ("uint8", 1.5 / 255)]


@pytest.mark.parametrize(("encoding", "tolerance"), ENCODINGS)
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_it_gives_the_teachers_probabilities(tmp_path, encoding, tolerance, classes):
    store = stored(tmp_path / "store", manifest(classes=classes, encoding=encoding))
    rows = [3, 9, 0, 3]
    logits = store.read(rows)
    assert (logits.shape, logits.dtype) == ((4, classes, *SIZE), torch.float32)
    live = Tutor(classes)(images(rows))
    best = live.topk(min(classes, 8), dim=1).indices
    error = (logits.softmax(1) - live.softmax(1)).gather(1, best).abs().max()
    assert error <= tolerance
    store.verify()


@pytest.mark.parametrize("size", [(), (6,), (4, 5, 6)])
def test_any_number_of_axes(tmp_path, size):
    described = manifest(cases=3, classes=3, size=size)
    TeacherStore.create(tmp_path / "store", described)
    logits = torch.randn(3, 3, *size)
    TeacherStore.open(tmp_path / "store", writable=True).write(0, logits)
    back = TeacherStore.open(tmp_path / "store").read([0, 1, 2])
    torch.testing.assert_close(back.softmax(1), logits.softmax(1), atol=3e-4, rtol=0)


def test_its_size_is_as_computed(tmp_path):
    pixels = SIZE[0] * SIZE[1]
    for changes, expected in (
        ({}, pixels * 2 + 8),
        ({"encoding": "uint8"}, pixels + 8 + 8),
        ({"classes": 5}, 5 * pixels * 2 + 8),
        ({"classes": 20}, 8 * pixels * 2 + 8 * pixels + 8),
        ({"classes": 20, "top_k": 3, "encoding": "uint8"}, 3 * pixels + 3 * pixels + 8 + 8),
    ):
        described = manifest(**changes)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        store = stored(folder, described)
        assert sum(bytes_per_row(described).values()) == expected
        assert store.nbytes == expected * 10
        on_disk = sum(file.stat().st_size for file in folder.glob("*.npy"))
        assert on_disk - store.nbytes == 128 * len(list(folder.glob("*.npy")))


def test_other_tools_can_map_it(tmp_path):
    stored(tmp_path / "store")
    mapped = np.load(tmp_path / "store" / "values.npy", mmap_mode="r")
    live = Tutor()(images(range(10)))
    np.testing.assert_allclose(mapped[:, 0], live[:, 1] - live[:, 0], atol=4e-3)
    described = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert described["teacher"] == "tutor"
    assert described["cases"][2] == ["case 2", f"{2:064x}"]


def test_an_incomplete_store_says_which_case_is_missing(tmp_path):
    TeacherStore.create(tmp_path / "store", manifest(views=Views("flip", 2, 0, {})))
    store = TeacherStore.open(tmp_path / "store", writable=True)
    assert not store.complete
    store.write(0, torch.zeros(3, 2, *SIZE))
    with pytest.raises(TeacherError, match=r"17 of 20 rows are missing or damaged, first that of case 1"):
        store.verify()


@pytest.mark.parametrize("name", ["values", "checks"])
def test_a_changed_byte_is_found(tmp_path, name):
    store = stored(tmp_path / "store")
    path = tmp_path / "store" / f"{name}.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(TeacherError, match="1 of 10 rows are missing or damaged, first that of case 9"):
        store.verify()


@pytest.mark.parametrize("name", ["values", "checks", "bounds", "classes"])
@pytest.mark.parametrize("size", [0, 100, 200])
def test_a_file_that_was_cut_off_is_refused(tmp_path, name, size):
    stored(tmp_path / "store", manifest(classes=20, encoding="uint8"))
    os.truncate(tmp_path / "store" / f"{name}.npy", size)
    with pytest.raises(TeacherError, match=rf"{name}\.npy: (was cut off|is not a NumPy file)"):
        TeacherStore.open(tmp_path / "store")


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path):
    store = stored(tmp_path / "store")
    os.truncate(tmp_path / "store" / "values.npy", 300)
    with pytest.raises(DataError, match="was cut off"):
        store.read([9])


def test_a_file_of_another_store_is_refused(tmp_path):
    stored(tmp_path / "a")
    stored(tmp_path / "b", manifest(cases=3))
    (tmp_path / "a" / "values.npy").replace(tmp_path / "b" / "values.npy")
    with pytest.raises(TeacherError, match="does not fit its manifest"):
        TeacherStore.open(tmp_path / "b")
    with pytest.raises(TeacherError, match="cannot be opened"):
        TeacherStore.open(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is not a teacher store"),
        ("{", "is not a teacher store"),
        ("[]", "has a damaged manifest"),
        ('{"version": 1}', "has a damaged manifest"),
        ('{"version": 2}', "has version 2 and this meddistill reads version 1"),
    ],
)
def test_a_damaged_manifest(tmp_path, text, said):
    stored(tmp_path / "store")
    file = tmp_path / "store" / "manifest.json"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(TeacherError, match=said):
        TeacherStore.open(tmp_path / "store")


def test_logits_that_are_not_finite_are_refused(tmp_path):
    TeacherStore.create(tmp_path / "store", manifest())
    before = content(tmp_path / "store")
    store = TeacherStore.open(tmp_path / "store", writable=True)
    with pytest.raises(TeacherError, match="NaN or infinity"):
        store.write(0, torch.full((1, 2, *SIZE), float("nan")))
    assert content(tmp_path / "store") == before


def test_making_a_store_twice_keeps_the_first(tmp_path):
    write(tmp_path / "store")
    before = content(tmp_path / "store")
    TeacherStore.create(tmp_path / "store", manifest())
    assert content(tmp_path / "store") == before


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_place_that_holds_something_else_is_left_alone(tmp_path, what):
    place = tmp_path / "store"
    place.write_text("precious") if what == "file" else place.mkdir()
    if what == "folder":
        (place / "precious").write_text("keep")
    before = snapshot(tmp_path)
    with pytest.raises(RunError, match="exists and is not a teacher store"):
        TeacherStore.create(place, manifest())
    assert snapshot(tmp_path) == before


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "store").mkdir()
    assert stored(tmp_path / "store").complete
