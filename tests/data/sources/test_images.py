from pathlib import Path

import numpy as np
import pytest

from meddistill.data import (
    IGNORE_INDEX,
    CaseCache,
    FolderSource,
    ImageSource,
    Source,
    check_files,
    is_labelled,
)
from meddistill.data.phantom import PhantomSource
from meddistill.errors import ConfigError, DataError
from tests.data.builders import busi_tree, write_image


def test_cases_are_those_of_a_labelled_folder_without_their_labels(tmp_path):
    root = busi_tree(tmp_path / "busi")
    write_image(root / "splits/preview.png")
    source, labelled = ImageSource(root), FolderSource(root)
    assert isinstance(source, Source)
    assert [(case.id, case.image, case.group) for case in source.cases] == [
        (case.id, case.image, case.group) for case in labelled.cases
    ]
    assert all(case.labels == () and case.stratum == "" and case.split is None for case in source.cases)
    assert source.left_out == 9
    assert (is_labelled(source), is_labelled(labelled)) == (False, True)


def test_masks_are_never_opened(tmp_path):
    root = busi_tree(tmp_path / "busi", per_class=1)
    for mask in root.rglob("*_mask.png"):
        mask.write_bytes(b"no image")
    (root / "orphan_mask_2.png").write_bytes(b"")
    source = ImageSource(root)
    check_files(source.cases, source)
    cache = CaseCache(source, source.cases, size=8)
    assert len(cache) == 3
    assert source.left_out == 4


def test_every_pixel_is_ignored_at_the_size_of_the_image(tmp_path):
    write_image(tmp_path / "deep/er/a.png", size=(5, 7))
    source = ImageSource(tmp_path, channels=3)
    [case] = source.cases
    assert case.id == "deep/er/a"
    label = source.read_label(case)
    assert (label.shape, label.dtype) == ((5, 7), np.int16)
    assert (label == IGNORE_INDEX).all()
    assert source.read_image(case).shape == (3, 5, 7)


def test_names_of_classes_are_those_given(tmp_path):
    write_image(tmp_path / "a.png")
    assert ImageSource(tmp_path).class_names == ("background", "foreground")
    assert ImageSource(tmp_path, class_names=["background", "left", "right"]).class_names[2] == "right"


def test_groups_come_from_the_file_name(tmp_path):
    for name in ("ABCD_1", "ABCD_2", "EFGH_1"):
        write_image(tmp_path / f"scan/{name}.png")
    source = ImageSource(tmp_path, group_pattern="^(....)")
    assert [case.group for case in source.cases] == ["ABCD", "ABCD", "EFGH"]


@pytest.mark.parametrize("names", ["background", ["background"], [], ["a", "a"]])
def test_fewer_than_two_classes_are_refused(tmp_path, names):
    write_image(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="at least two different names"):
        ImageSource(tmp_path, class_names=names)


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        ImageSource(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no images"):
        ImageSource(tmp_path)
    write_image(tmp_path / "a_mask.png")
    write_image(tmp_path / "a_mask_1.png")
    with pytest.raises(DataError, match="nothing but 2 files named as masks"):
        ImageSource(tmp_path)
    write_image(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="not a regular expression"):
        ImageSource(tmp_path, group_pattern="(")
    with pytest.raises(DataError, match="does not match group_pattern"):
        ImageSource(tmp_path, group_pattern="^z")
    write_image(tmp_path / "a.bmp")
    with pytest.raises(DataError, match="has the same name"):
        ImageSource(Path(tmp_path))


def test_other_sources_are_labelled():
    assert is_labelled(PhantomSource(1, size=(32, 32)))
