import pytest

from meddistill.data import Case, FolderSource, check_files
from meddistill.errors import DataError
from tests.data.builders import busi_tree, png_bomb, write_image


def test_whole_folder_and_generated_cases_pass(tmp_path):
    check_files(FolderSource(busi_tree(tmp_path)).cases)
    check_files([Case("phantom 1")])


def test_size_mismatch_names_the_label(tmp_path):
    root = busi_tree(tmp_path)
    write_image(root / "benign/benign (2)_mask_1.png", 255, size=(12, 11))
    with pytest.raises(
        DataError, match=r"benign \(2\)_mask_1\.png: the label is 12 x 11, .* 12 x 10; resample"
    ):
        check_files(FolderSource(root).cases)


@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_broken_headers_are_found_in_images_and_labels(tmp_path, suffix):
    root = busi_tree(tmp_path)
    path = png_bomb(root / f"normal/normal (1){suffix}.png")
    with pytest.raises(DataError, match="larger than"):
        check_files(FolderSource(root).cases)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        check_files(FolderSource(root).cases)
