"""`meddistill inspect` on data with weak labels, and its contact sheet."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from meddistill.cli import run
from meddistill.training.inspection import inspect_data
from tests.data.builders import busi_tree
from tests.mistakes import the_line
from tests.recipes import write_recipe


def recipe(folder, kind="disc", **options):
    section = {"full_groups": 5, "full_per_batch": 2, "weak": {"kind": kind, **options}}
    return write_recipe(folder, data={"supervision": section})


def tables(inspection):
    return {table.title: table for table in inspection.tables}


def test_what_weak_labels_cover(tmp_path):
    found = inspect_data(str(recipe(tmp_path, "random_pixels", count=3, background=True)))
    made = tables(found)
    assert made["Supervision of the training split"].rows == (("full", 5, 5, 0), ("weak", 11, 11, 0))
    background, lesion, everything = made["Weakly labelled pixels by class"].rows
    assert background[:4] == (0, "background", 16, 48)
    assert lesion[2] == lesion[3] / 3
    assert everything[3] == 48 + lesion[3]
    assert everything[4] == f"{everything[3] / (16 * 32 * 32):.3%}"
    assert float(lesion[5].rstrip("%")) > 10 * float(background[5].rstrip("%"))
    shares, pixels = made["Weakly labelled pixels of a case"].rows
    assert pixels == ("pixels", "3", *pixels[2:5], "6")
    assert shares[-1] == f"{6 / 1024:.3%}"
    assert not found.of_kind("foreground-only")


def test_cases_without_a_weak_label_are_counted(tmp_path):
    found = inspect_data(str(recipe(tmp_path)))
    _, weak = tables(found)["Supervision of the training split"].rows
    [note] = found.of_kind("no-weak-label")
    assert len(note.items) == weak[3] > 0
    assert f"{weak[3]} of 11 weak cases" in note.message
    assert all(item.startswith("normal/") for item in note.items)
    assert found.of_kind("foreground-only")


def test_a_semi_supervised_recipe(tmp_path):
    found = inspect_data(str(recipe(tmp_path, "none")))
    assert found.of_kind("no-weak-label")[0].message.startswith("11 of 11 weak cases")
    assert not found.of_kind("absent-weak-class")


def test_a_recipe_without_supervision_says_nothing_of_it(tmp_path):
    found = inspect_data(str(write_recipe(tmp_path)))
    assert not any("eakly" in table.title or "Supervision" in table.title for table in found.tables)


def test_the_command_prints_the_tables_and_draws_the_sheet(tmp_path, capfd):
    sheet = tmp_path / "new" / "sheet.png"
    command = ["inspect", str(recipe(tmp_path, "scribble")), "--sheet", str(sheet)]
    assert run([*command, "--json", str(tmp_path / "found.json")]) == 0
    out = capfd.readouterr().out
    assert "Weakly labelled pixels by class" in out
    assert f"sheet: {sheet}" in out
    titles = [table["title"] for table in json.loads((tmp_path / "found.json").read_text())["tables"]]
    assert "Weakly labelled pixels of a case" in titles
    with Image.open(sheet) as picture:
        assert picture.width == 3 * (2 * 320 + 4 + 8) + 8
        assert len(set(picture.convert("L").tobytes())) > 100
    before = sheet.read_bytes()
    assert run(command) == 0
    assert sheet.read_bytes() == before


def test_the_sheet_of_volumes_shows_a_slice_of_each(tmp_path):
    section = {"full_groups": 2, "full_per_batch": 2, "weak": {"kind": "scribble", "axis": 0}}
    source = {"kind": "phantom", "cases": 8}
    file = write_recipe(tmp_path, data={"source": source, "size": [32, 32, 40], "supervision": section})
    inspect_data(str(file), sheet=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width == 3 * (2 * 320 + 4 + 8) + 8


def test_the_sheet_of_a_folder_shows_full_labels(tmp_path):
    inspect_data(str(busi_tree(tmp_path / "data")), sheet=tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height > 3 * 320


def test_contradicting_labels_are_drawn_and_damaged_images_are_not(tmp_path, capfd):
    data, sheet = busi_tree(tmp_path / "data"), tmp_path / "sheet.png"
    shutil.copy(data / "benign" / "benign (1).png", data / "normal" / "normal (1).png")
    assert run(["inspect", str(data), "--sheet", str(sheet)]) == 2
    assert f"sheet: {sheet}" in capfd.readouterr().out
    assert sheet.exists()
    sheet.unlink()
    (data / "benign" / "benign (2).png").write_bytes(b"no image")
    assert run(["inspect", str(data), "--sheet", str(sheet)]) == 2
    assert "sheet: " not in capfd.readouterr().out
    assert not sheet.exists()


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet"])
def test_a_sheet_is_a_png(tmp_path, capfd, name):
    assert run(["inspect", str(recipe(tmp_path)), "--sheet", str(tmp_path / name)]) == 2
    assert "give a name that ends in .png" in the_line(*capfd.readouterr())
