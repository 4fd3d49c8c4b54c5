import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data import IGNORE_INDEX, PaletteSource, Source
from meddistill.data.sources.palette import decode_colours, read_palette
from meddistill.errors import DataError
from tests.data.builders import PALETTE, endovis_tree, write_image, write_json


def test_sequences_are_groups_and_colours_are_classes(tmp_path):
    source = PaletteSource(endovis_tree(tmp_path))
    assert isinstance(source, Source)
    assert source.class_names == ("background", "shaft", "clasper")
    assert [case.id for case in source.cases] == [f"seq_{s}/frame00{f}" for s in (1, 2) for f in (0, 1)]
    assert [case.group for case in source.cases] == ["seq_1", "seq_1", "seq_2", "seq_2"]
    assert source.read_image(source.cases[1])[:, 0, 0].tolist() == [10, 10, 10]
    label = source.read_label(source.cases[0])
    assert label.dtype == np.int16
    assert label[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    assert label[7, 9] == IGNORE_INDEX
    assert (label == IGNORE_INDEX).sum() == 1


def test_palette_may_lie_elsewhere_and_frames_be_grey(tmp_path):
    root = endovis_tree(tmp_path / "data")
    (root / "labels.json").rename(tmp_path / "colours.json")
    source = PaletteSource(root, tmp_path / "colours.json", channels=1)
    assert source.read_image(source.cases[0]).shape == (1, 8, 10)
    assert len(source.class_names) == 3


colours = st.tuples(*[st.integers(0, 255)] * 3)


@settings(max_examples=40)
@given(st.lists(colours, min_size=1, max_size=5, unique=True), st.lists(colours, min_size=1, max_size=20))
def test_decoding_agrees_with_a_dictionary(known, others):
    pixels = [*known, *others]
    palette = tuple((r * 65536 + g * 256 + b, value) for value, (r, g, b) in enumerate(known))
    image = np.array(pixels, dtype=np.uint8).T[:, None]
    expected = [known.index(pixel) if pixel in known else IGNORE_INDEX for pixel in pixels]
    assert decode_colours(image, palette)[0].tolist() == expected


def test_two_colours_may_share_a_class(tmp_path):
    twin = {"name": "shaft too", "color": [9, 9, 9], "classid": 1}
    names, palette = read_palette(write_json(tmp_path / "p.json", [*PALETTE, twin]))
    assert names == ("background", "shaft", "clasper")
    assert dict(palette)[0x090909] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "a palette is a list"),
        ([], "a palette is a list"),
        ([7], "entry 0: expected"),
        ([{"name": "a", "color": [0, 0, 0]}], "entry 0: needs a name"),
        ([{"name": "a", "color": "red", "classid": 0}], "entry 0: needs a name"),
        ([{"name": "a", "color": [0, 0, 256], "classid": 0}], r"entry 0: color \[0, 0, 256\] must be"),
        ([{**PALETTE[0], "classid": 5}], r"class numbers must be 0\.\.0 without gaps, not \[5\]"),
        ([PALETTE[0], {**PALETTE[1], "color": [0, 0, 0]}], "entry 1: the colour of shaft already"),
    ],
)
def test_malformed_palettes(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"p\.json.*{message}"):
        read_palette(write_json(tmp_path / "p.json", content))


def test_unreadable_palettes(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        PaletteSource(endovis_tree(tmp_path), tmp_path / "none.json")
    (tmp_path / "labels.json").write_text("[{]")
    with pytest.raises(DataError, match="the palette is not JSON"):
        PaletteSource(tmp_path)


def test_frames_and_labels_must_pair(tmp_path):
    root = endovis_tree(tmp_path)
    (root / "seq_2/labels/frame001.png").unlink()
    with pytest.raises(DataError, match=r"frame without label: .*seq_2/left_frames/frame001\.png"):
        PaletteSource(root)
    source = PaletteSource(root, unlabelled="allow")
    assert (source.read_label(source.cases[-1]) == IGNORE_INDEX).all()
    (root / "seq_1/left_frames/frame000.png").unlink()
    with pytest.raises(DataError, match=r"label without frame: .*seq_1/labels/frame000\.png"):
        PaletteSource(root, unlabelled="allow")


def test_other_layouts_and_deep_labels_are_refused(tmp_path):
    write_image(tmp_path / "other/a.png")
    with pytest.raises(DataError, match="no images in a folder <sequence>/left_frames"):
        PaletteSource(tmp_path)
    root = endovis_tree(tmp_path)
    write_image(root / "seq_1/labels/frame000.png", np.zeros((8, 10), dtype=np.uint16))
    source = PaletteSource(root)
    with pytest.raises(DataError, match="must be an 8-bit image"):
        source.read_label(source.cases[0])
