"""Labels of whole images on their way through cache, data set, change, inspection and sheet."""

import numpy as np
import pytest
import torch

from meddistill.data import (
    IGNORE_INDEX,
    CaseCache,
    CaseDataset,
    check_files,
    inspect_source,
    make_transform,
    split_cases,
)
from meddistill.data.sources.class_folder import ClassFolderSource
from meddistill.data.sources.medmnist import MedMnistSource
from meddistill.data.sources.table import TableSource
from meddistill.data.transforms import PRESETS, Sample
from meddistill.training.sheet import label_pictures, write_sheet
from tests.data.answers import class_tree, label_table, medmnist_file
from tests.data.builders import manifest, write_image
from tests.data.sources.test_table import NIH


@pytest.fixture
def folder(tmp_path):
    return ClassFolderSource(class_tree(tmp_path / "tree", size=(20, 14)))


@pytest.fixture
def several(tmp_path):
    return TableSource(label_table(tmp_path), root=tmp_path / "images", **NIH)


def test_the_cache_resizes_images_and_leaves_labels(folder):
    held = CaseCache(folder, folder.cases, size=(8, 10))
    assert held.size == (8, 10)
    images, labels = held.gather([0, 7])
    assert (images.shape, labels.tolist(), labels.dtype) == ((2, 1, 8, 10), [0, 1], torch.int16)
    assert CaseCache(folder, folder.cases, size=None).size == (20, 14)


def test_the_fingerprint_follows_the_label(tmp_path):
    rows = [{"image": f"{name}.png", "kind": name} for name in "ab"]
    for row in rows:
        write_image(tmp_path / row["image"])
    prints = []
    for kinds in ("ab", "ba"):
        listed = [{**row, "kind": kind} for row, kind in zip(rows, kinds, strict=True)]
        source = TableSource(manifest(tmp_path / "list.csv", listed), label="kind")
        prints.append(CaseCache(source, source.cases, size=4).fingerprint())
    assert prints[0] != prints[1]


def test_batches_hold_one_label_or_a_row_of_labels_an_image(folder, several):
    batch = CaseDataset(CaseCache(folder, folder.cases, size=8)).__getitems__([(0, 0), (0, 4), (0, 5)])
    assert (batch["label"].tolist(), batch["label"].dtype) == ([0, 1, 1], torch.int64)
    batch = CaseDataset(CaseCache(several, several.cases, size=8)).__getitems__([(0, 3), (0, 1)])
    assert batch["label"].tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_a_change_leaves_labels_and_logits_of_the_whole_image(preset):
    change = make_transform(preset, dims=2)
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    for label in (torch.tensor(1), torch.tensor([0, 1, IGNORE_INDEX])):
        sample = Sample(image=image, label=label, teacher_logits=torch.tensor([1.5, -2.0]))
        changed = [change(sample, seed) for seed in range(6)]
        assert all(torch.equal(one["label"], label) for one in changed)
        assert all(torch.equal(one["teacher_logits"], sample["teacher_logits"]) for one in changed)
        assert any(not torch.equal(one["image"], image) for one in changed)
        assert all(0 <= one["image"].min() <= one["image"].max() <= 1 for one in changed)


def test_the_image_changes_as_it_does_beside_a_map():
    image = torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(0))
    change = make_transform("medium", dims=2)
    beside_map = change(Sample(image=image, label=torch.zeros(12, 12, dtype=torch.long)), 5)
    assert torch.equal(change(Sample(image=image, label=torch.tensor(0)), 5)["image"], beside_map["image"])


def test_augmented_batches_keep_their_labels(folder):
    cache = CaseCache(folder, folder.cases, size=16)
    dataset = CaseDataset(cache, transform=make_transform("light", dims=2), seed=1)
    batch = dataset.__getitems__([(0, 0), (0, 6)])
    assert batch["label"].tolist() == [0, 1]
    assert batch["image"].shape == (2, 1, 16, 16)


def test_headers_are_checked(folder):
    check_files(folder.cases, folder)


def test_inspection_counts_classes_and_names_those_missing_in_a_split(folder):
    split = split_cases(folder, fractions={"train": 0.5, "test": 0.5})
    inspection = inspect_source(folder, split)
    assert not inspection.has_errors
    table = next(table for table in inspection.tables if table.title == "Labels of images")
    assert table.columns == ("value", "class", "train", "test", "total", "share")
    assert table.rows == ((0, "healthy", 2, 2, 4, "50.00%"), (1, "sick", 2, 2, 4, "50.00%"))
    assert not inspection.of_kind("empty-label")
    only_sick = split.cases["test"][-2:]
    moved = type(split)({"train": folder.cases[:6], "test": only_sick})
    [finding] = inspect_source(folder, moved).of_kind("class-missing-in-split")
    assert (finding.level, finding.items) == ("warning", ("test: healthy",))


def test_inspection_of_several_labels(several):
    inspection = inspect_source(several)
    table = next(table for table in inspection.tables if table.title == "Labels of images")
    assert table.rows == ((0, "bottom", 6, "50.00%"), (1, "top", 6, "50.00%"))
    assert not inspection.of_kind("unlabelled")
    assert not inspection.of_kind("absent-class")


def test_equal_images_of_different_classes_contradict(folder):
    first, last = folder.cases[0].image, folder.cases[-1].image
    last.write_bytes(first.read_bytes())
    [finding] = inspect_source(ClassFolderSource(folder.root)).of_kind("conflicting-duplicate")
    assert finding.level == "error"


def test_unknown_labels_are_noted(tmp_path):
    rows = [{"image": f"{n}.png", "kind": kind} for n, kind in enumerate(("x", "y", ""))]
    for number, row in enumerate(rows):
        write_image(
            tmp_path / row["image"], np.random.default_rng(number).integers(0, 256, (9, 9), dtype=np.uint8)
        )
    source = TableSource(manifest(tmp_path / "list.csv", rows), label="kind", unlabelled="allow")
    [finding] = inspect_source(source).of_kind("unlabelled")
    assert (finding.message, finding.items) == (
        "1 case without any label; they can teach nothing alone",
        ("2",),
    )


def test_the_sheet_names_the_class_of_each_image(folder, several, tmp_path):
    pictures = label_pictures(folder, folder.cases)
    assert [picture.note for picture in pictures] == ["healthy"] * 4 + ["sick"] * 4
    notes = [picture.note for picture in label_pictures(several, several.cases)]
    assert notes[:4] == ["none of the labels", "top", "bottom", "bottom, top"]
    write_sheet(tmp_path / "sheet.png", pictures, folder.class_names)
    from PIL import Image

    assert Image.open(tmp_path / "sheet.png").size[0] > 3 * 200


def test_medmnist_needs_no_files_of_its_own(tmp_path):
    source = MedMnistSource(medmnist_file(tmp_path / "a.npz"))
    check_files(source.cases, source)
    assert not inspect_source(source).of_kind("unreadable")
    assert CaseCache(source, source.cases[:3], size=None).gather([0, 1])[1].tolist() == [0, 1]
