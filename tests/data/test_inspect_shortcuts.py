"""What `inspect` says where the class can be told without the middle of the image."""

import os
from pathlib import Path

import numpy as np
import pytest

from meddistill.data import inspect_source
from meddistill.data._inspect_shortcuts import FEWEST_GROUPS
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.data.sources.table import TableSource
from tests.data.answers import label_table, picture
from tests.data.builders import write_image
from tests.data.sources.test_table import NIH

DATA = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def tree(root, *, border=0, per_class=25, ending="png", names=("healthy", "sick"), patients=True):
    """Noise with the patch of the class in its middle; `border` levels brighter at the rim of the last."""
    for kind, name in enumerate(names):
        for number in range(per_class):
            image = np.random.default_rng([kind, number]).integers(0, 200, (24, 24), dtype=np.uint8)
            image[4:20, 4:20] = picture(kind, number)
            if name == names[-1]:
                image[:2] += np.uint8(border)
            group = f"{kind}p{number}" if patients else f"{kind}p{number % 3}"
            suffix = ending if name == names[-1] else "png"
            write_image(root / name / f"{group}_{number}.{suffix}", image)
    return ClassFolderSource(root, group_pattern="^([^_]+)")


def told(inspection):
    """The text of each cell of the table of classes, by class and column."""
    [table] = [table for table in inspection.tables if table.title.startswith("AUROC")]
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def auroc(cell):
    return float(cell.split()[0])


def test_a_class_in_the_middle_gives_no_warning(tmp_path):
    inspection = inspect_source(tree(tmp_path))
    assert not inspection.of_kind("shortcut")
    scores = told(inspection)["sick"]
    assert 0.3 < auroc(scores["border"]) < 0.7
    assert auroc(scores["whole image"]) > 0.99
    assert scores["file"] == "0.500 [0.500, 0.500]"


def test_a_border_of_its_own_gives_the_class_away(tmp_path):
    inspection = inspect_source(tree(tmp_path, border=50))
    [finding] = inspection.of_kind("shortcut")
    assert finding.level == "warning"
    assert finding.items[1].startswith("sick: border alone, AUROC 0.99")
    assert auroc(told(inspection)["sick"]["border"]) > 0.99
    [accuracies] = [table for table in inspection.tables if table.title.startswith("Told apart")]
    assert "50 images of 50 groups" in accuracies.title
    assert [row[0] for row in accuracies.rows] == ["border", "file", "grey histogram", "whole image"]
    assert {row[2] for row in accuracies.rows} == {"0.500"}


def test_files_of_another_kind_give_the_class_away(tmp_path):
    [finding] = inspect_source(tree(tmp_path, ending="bmp")).of_kind("shortcut")
    assert [item.partition(",")[0] for item in finding.items] == ["healthy: file alone", "sick: file alone"]


def test_of_three_classes_the_one_that_gives_itself_away_is_named(tmp_path):
    source = tree(tmp_path, border=55, per_class=40, names=("healthy", "sick", "worse"))
    scores = told(inspect_source(source))
    assert auroc(scores["worse"]["border"]) > 0.95
    assert max(auroc(scores[name]["border"]) for name in ("healthy", "sick")) < 0.85


def test_classes_of_few_groups_are_not_looked_at(tmp_path):
    inspection = inspect_source(tree(tmp_path, border=50, patients=False))
    [finding] = inspection.of_kind("shortcuts-unchecked")
    assert finding.level == "note"
    assert finding.items == ("healthy", "sick")
    assert str(FEWEST_GROUPS) in finding.message
    assert not any(table.title.startswith("AUROC") for table in inspection.tables)


def test_unreadable_images_are_passed_over(tmp_path):
    source = tree(tmp_path)
    source.cases[0].image.write_bytes(b"")
    inspection = inspect_source(source)
    assert inspection.of_kind("unreadable")
    assert any("49 images of 49 groups" in table.title for table in inspection.tables)


def test_of_many_images_as_many_of_each_class_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("meddistill.data._inspect_shortcuts.MOST_IMAGES", 44)
    first, again = (inspect_source(tree(tmp_path)) for _ in range(2))
    assert any("44 images of 44 groups" in table.title for table in first.tables)
    assert first == again


def test_a_group_of_many_images_does_not_crowd_out_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("meddistill.data._inspect_shortcuts.MOST_IMAGES", 50)
    source = tree(tmp_path)
    for number in range(200):
        write_image(tmp_path / f"sick/1p0_{number:03}x.png", number)
    inspection = inspect_source(ClassFolderSource(source.root, group_pattern=source.group_pattern))
    assert any("50 images of 50 groups" in table.title for table in inspection.tables)


def test_several_labels_are_not_looked_at(tmp_path):
    inspection = inspect_source(TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH))
    assert not inspection.of_kind("shortcuts-unchecked")
    assert not any(table.title.startswith("AUROC") for table in inspection.tables)


@pytest.mark.realdata
@pytest.mark.skipif(not (DATA / "cxr").is_dir(), reason=f"no real data in {DATA}")
def test_radiographs_of_another_source_are_told_by_their_border():
    inspection = inspect_source(ClassFolderSource(DATA / "cxr", group_pattern="^([^_]+)"))
    [finding] = inspection.of_kind("shortcut")
    assert finding.items[0].startswith("Covid-19: border alone")
    assert auroc(told(inspection)["Covid-19"]["border"]) > 0.85
