import os
from pathlib import Path

import numpy as np
import pytest
import torch

from meddistill.data import IGNORE_INDEX, FolderSource, Source
from meddistill.errors import ConfigError, DataError
from tests.data.builders import busi_tree, write_image

DATA = Path(os.environ.get("MEDDISTILL_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture
def root(tmp_path):
    return busi_tree(tmp_path / "busi")


def test_cases_are_sorted_and_complete(root):
    (root / "splits").mkdir()
    (root / "splits/list.json").write_text("[]")
    write_image(root / "splits/preview.png")
    (root / "notes.txt").touch()
    write_image(root / ".cache/hidden.png")
    write_image(root / "benign/._ghost.png")
    source = FolderSource(root)
    assert isinstance(source, Source)
    assert [case.id for case in source.cases] == [
        f"{name}/{name} ({number})" for name in ("benign", "malignant", "normal") for number in (1, 2, 3)
    ]
    case = source.cases[0]
    assert (case.stratum, case.group, case.split) == ("benign", "benign/benign (1)", None)
    assert case.labels == (root / "benign/benign (1)_mask.png",)
    assert (source.class_names, source.in_channels, source.dims) == (("background", "lesion"), 1, 2)


def test_image_and_label_are_read_at_their_size(root):
    source = FolderSource(root, channels=3)
    case = source.cases[0]
    assert source.read_image(case).shape == (3, 12, 10)
    label = source.read_label(case)
    assert label.dtype == np.int16
    expected = np.zeros((12, 10))
    expected[2:6, 3:5] = 1
    assert np.array_equal(label, expected)
    assert not source.read_label(source.cases[-1]).any()


def test_masks_are_merged_by_union(root):
    for number, row in ((1, 8), (2, 10)):
        mask = np.zeros((12, 10), dtype=np.uint8)
        mask[row] = 255
        write_image(root / f"benign/benign (1)_mask_{number}.png", mask)
    source = FolderSource(root)
    assert len(source.cases[0].labels) == 3
    assert len(source.cases) == 9
    label = source.read_label(source.cases[0])
    assert label[8].all()
    assert label[10].all()
    assert label[2:6, 3:5].all()
    assert label.sum() == 10 + 10 + 8


def test_masks_of_different_size_do_not_merge(root):
    write_image(root / "benign/benign (1)_mask_1.png", 255, size=(3, 3))
    source = FolderSource(root)
    with pytest.raises(DataError, match=r"the masks of benign/benign \(1\) differ in size"):
        source.read_label(source.cases[0])


def test_threshold_254_counts_only_255(tmp_path):
    write_image(tmp_path / "a.png", size=(1, 5))
    write_image(tmp_path / "a_mask.png", np.array([[0, 127, 128, 254, 255]], dtype=np.uint8))
    default, released = FolderSource(tmp_path), FolderSource(tmp_path, threshold=254)
    assert default.read_label(default.cases[0]).tolist() == [[0, 0, 1, 1, 1]]
    assert released.read_label(released.cases[0]).tolist() == [[0, 0, 0, 0, 1]]


def test_mask_of_zeros_and_ones_is_not_taken_for_empty(tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "a_mask.png", 1)
    source = FolderSource(tmp_path)
    with pytest.raises(
        DataError, match=r"a_mask\.png: the largest mask value is 1, .*give a threshold below 1"
    ):
        source.read_label(source.cases[0])
    source = FolderSource(tmp_path, threshold=0)
    assert source.read_label(source.cases[0]).all()


def test_nested_folders_and_other_endings(tmp_path):
    write_image(tmp_path / "siteA/benign/x.bmp")
    write_image(tmp_path / "siteA/benign/x_mask.png")
    case = FolderSource(tmp_path).cases[0]
    assert (case.id, case.stratum) == ("siteA/benign/x", "siteA/benign")


def test_group_pattern_names_the_patient(tmp_path):
    for name in ("benign/ALWI_000", "normal/ALWI_003", "normal/BORE_001"):
        write_image(tmp_path / f"{name}.png")
        write_image(tmp_path / f"{name}_mask.png")
    for pattern in ("^(....)", "^[A-Z]{4}", r"(....)_\d+$"):
        groups = [case.group for case in FolderSource(tmp_path, group_pattern=pattern).cases]
        assert groups == ["ALWI", "ALWI", "BORE"]
    with pytest.raises(DataError, match=r"ALWI_000\.png: the name does not match group_pattern 'patient"):
        FolderSource(tmp_path, group_pattern=r"patient(\d+)")
    with pytest.raises(ConfigError, match="not a regular expression"):
        FolderSource(tmp_path, group_pattern="(")


def test_missing_and_empty_roots(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no images"):
        FolderSource(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        FolderSource(write_image(tmp_path / "a.png"))


def test_unpaired_files_are_named(root):
    (root / "normal/normal (3)_mask.png").unlink()
    with pytest.raises(DataError, match=r"image without mask: .*normal \(3\)\.png; add"):
        FolderSource(root)
    source = FolderSource(root, unlabelled="allow")
    assert source.cases[-1].labels == ()
    assert np.array_equal(source.read_label(source.cases[-1]), np.full((12, 10), IGNORE_INDEX))
    (root / "benign/benign (2).png").unlink()
    with pytest.raises(DataError, match=r"mask without image: .*benign \(2\)_mask\.png; add"):
        FolderSource(root, unlabelled="allow")


def test_many_unpaired_files_make_a_short_line(tmp_path):
    for number in range(50):
        write_image(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="and 47 more"):
        FolderSource(tmp_path)


def test_one_name_for_two_images_is_refused(root):
    write_image(root / "benign/benign (1).bmp")
    with pytest.raises(DataError, match="has the same name"):
        FolderSource(root)


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"threshold": -1}, {"unlabelled": "ignore"}])
def test_wrong_arguments(root, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FolderSource(root, **wrong)


@pytest.mark.realdata
@pytest.mark.skipif(not (DATA / "busi").is_dir(), reason=f"no real data in {DATA}")
def test_real_busi():
    from meddistill.data import CaseCache, split_cases

    source = FolderSource(DATA / "busi")
    lists = {"train": DATA / "busi/splits/pcd_train.json", "test": DATA / "busi/splits/pcd_val.json"}
    split = split_cases(source, files=lists, carve={"selection": 0.12, "calibration": 0.08}, seed=1)
    assert {name: len(cases) for name, cases in split.cases.items()} == {
        "train": 544,
        "selection": 82,
        "calibration": 54,
        "test": 100,
    }
    strata = [case.stratum for case in split.cases["test"]]
    assert [strata.count(name) for name in ("benign", "malignant", "normal")] == [55, 26, 19]
    cache = CaseCache(source, split.cases["test"], size=None)
    labels = cache.gather(range(100))[1]
    assert labels.shape == (100, 256, 256)
    assert torch.unique(labels).tolist() == [0, 1]
    assert int((labels.flatten(1).sum(1) == 0).sum()) == 19
