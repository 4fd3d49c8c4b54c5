import numpy as np
import pytest
from PIL import Image

from meddistill.data import IGNORE_INDEX, ManifestSource, Source
from meddistill.errors import ConfigError, DataError
from tests.data.builders import manifest, write_image

LABEL = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)


@pytest.fixture
def rows(tmp_path):
    write_image(tmp_path / "images/a.png", 7, size=(2, 3))
    write_image(tmp_path / "images/b.png", 8, size=(2, 3))
    write_image(tmp_path / "labels/a.png", LABEL)
    write_image(tmp_path / "weak/a.png", LABEL)
    return [
        {
            "image": "images/a.png",
            "label": "labels/a.png",
            "group": "p1",
            "split": "train",
            "weak": "weak/a.png",
        },
        {"image": "images/b.png", "label": "", "group": "", "split": "", "weak": ""},
    ]


def test_every_column_arrives(tmp_path, rows):
    source = ManifestSource(manifest(tmp_path / "m.csv", rows), num_classes=3)
    first, second = source.cases
    assert isinstance(source, Source)
    assert source.class_names == ("background", "class 1", "class 2")
    assert (first.id, first.group, first.split) == ("images/a", "p1", "train")
    assert (first.labels, first.weak) == ((tmp_path / "labels/a.png",), tmp_path / "weak/a.png")
    assert (second.id, second.group, second.split, second.weak) == ("images/b", "images/b", None, None)
    assert source.read_image(first).shape == (1, 2, 3)
    assert np.array_equal(source.read_label(first), LABEL)
    assert np.array_equal(source.read_label(second), np.full((2, 3), IGNORE_INDEX))


def test_image_column_alone_is_enough(tmp_path, rows):
    source = ManifestSource(
        manifest(tmp_path / "m.csv", [{"image": "images/b.png"}]), class_names=["no", "yes"]
    )
    assert source.class_names == ("no", "yes")
    assert source.cases[0].labels == ()


def test_byte_order_mark_and_absolute_paths(tmp_path, rows):
    path = tmp_path / "m.csv"
    path.write_text(f"image\n{tmp_path / 'images/a.png'}\n", encoding="utf-8-sig")
    assert ManifestSource(path, num_classes=2).cases[0].image == tmp_path / "images/a.png"


def test_paths_may_leave_the_folder_but_ids_stay_inside(tmp_path, rows):
    (tmp_path / "lists").mkdir()
    path = manifest(tmp_path / "lists/m.csv", [{"image": "../images/a.png"}])
    assert ManifestSource(path, num_classes=2).cases[0].id == "images/a"


def test_palette_indices_are_labels(tmp_path, rows):
    image = Image.fromarray(LABEL).convert("P")
    image.putdata(LABEL.flatten().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "labels/a.png")
    source = ManifestSource(manifest(tmp_path / "m.csv", rows), num_classes=3)
    assert np.array_equal(source.read_label(source.cases[0]), LABEL)


def test_masks_of_two_classes_may_be_black_and_white(tmp_path, rows):
    write_image(tmp_path / "labels/a.png", (LABEL > 0).astype(np.uint8) * 255)
    source = ManifestSource(manifest(tmp_path / "m.csv", rows), num_classes=2)
    assert np.array_equal(source.read_label(source.cases[0]), LABEL > 0)
    source = ManifestSource(manifest(tmp_path / "m.csv", rows), num_classes=3)
    with pytest.raises(DataError, match=r"label value 255 is outside 0\.\.2"):
        source.read_label(source.cases[0])


def test_label_value_out_of_range_names_file_and_value(tmp_path, rows):
    source = ManifestSource(manifest(tmp_path / "m.csv", rows), num_classes=2)
    with pytest.raises(DataError, match=r"labels/a\.png: label value 2 is outside 0\.\.1"):
        source.read_label(source.cases[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("image\n", "lists no images"),
        ("imge\na.png\n", "unknown column 'imge'; did you mean 'image'"),
        ("label\na.png\n", "the column image is missing"),
        ("image,image\na,b\n", "stands twice"),
        ("image\nnone.png\n", r"line 2: no such file .*none\.png"),
        ("image,label\nimages/a.png,none.png\n", "line 2: no such file"),
        ("image,label\nimages/a.png,,extra\n", "line 2: more cells than columns"),
        ("image,split\nimages/a.png,trian\n", "line 2: unknown split 'trian'; did you mean 'train'"),
        ("image,label\n,labels/a.png\n", "line 2: the image is empty"),
        ("image\nimages/a.png\nimages/b.png\n./images/a.png\n", "images/a stands in line 2, line 4"),
        ("image\nm.csv\n", "line 2: m.csv has no known image ending"),
    ],
)
def test_malformed_files(tmp_path, rows, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"m\.csv.*{message}"):
        ManifestSource(path, num_classes=2)


def test_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read .No such file"):
        ManifestSource(tmp_path / "none.csv", num_classes=2)
    path = tmp_path / "m.csv"
    path.write_bytes(b"image\n\xff\xfe.png\n")
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        ManifestSource(path, num_classes=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give class_names or num_classes"),
        ({"num_classes": 1}, "at least two classes"),
        ({"num_classes": 3, "class_names": ("a", "b")}, "num_classes is 3, but class_names holds 2"),
        ({"class_names": "lesion"}, "must be a list of names"),
        ({"num_classes": 2, "channels": 4}, "channels must be 1 or 3"),
    ],
)
def test_wrong_arguments(tmp_path, rows, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ManifestSource(manifest(tmp_path / "m.csv", rows), **arguments)
