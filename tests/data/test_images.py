import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from meddistill.data import images
from meddistill.data.images import (
    MAX_PIXELS,
    Format,
    original_size,
    read_image,
    read_indices,
    read_mask,
    register_format,
)
from meddistill.errors import ConfigError, DataError
from tests.data.builders import png_bomb, truncate, write_image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "tiff", "PNG"])
def test_lossless_formats_keep_every_value(tmp_path, ending):
    path = write_image(tmp_path / f"a.{ending}", GREY)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.array_equal(image, GREY[None])
    assert original_size(path) == (6, 8)


def test_jpeg_is_close(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(GREY).save(path, quality=95)
    assert np.abs(read_image(path)[0].astype(int) - GREY).max() <= 4


def test_grey_is_repeated_for_three_channels(tmp_path):
    image = read_image(write_image(tmp_path / "a.png", GREY), channels=3)
    assert image.shape == (3, 6, 8)
    assert all(np.array_equal(channel, GREY) for channel in image)


def test_colour_is_channel_first_and_turns_into_luminance(tmp_path):
    colours = np.zeros((6, 8, 3), dtype=np.uint8)
    colours[..., 0] = 200
    path = write_image(tmp_path / "a.png", colours)
    assert read_image(path, 3)[:, 0, 0].tolist() == [200, 0, 0]
    assert read_image(path, 1)[0, 0, 0] == round(0.299 * 200)


def test_alpha_is_ignored(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)])).save(path)
    assert np.array_equal(read_image(path)[0], GREY)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_the_range_of_the_type(tmp_path, ending):
    values = np.array([[0, 1, 4095], [32768, 65534, 65535]], dtype=np.uint16)
    path = write_image(tmp_path / f"a.{ending}", values)
    image = read_image(path, 3)
    assert image.dtype == np.float32
    assert np.allclose(image[2], values / 65535, atol=1e-7)
    assert np.array_equal(read_mask(path), values)


def test_floating_point_tiff_must_lie_in_0_to_1(tmp_path):
    good = write_image(tmp_path / "good.tif", np.array([[0.0, 0.25], [0.5, 1.0]], dtype=np.float32))
    assert read_image(good)[0].tolist() == [[0.0, 0.25], [0.5, 1.0]]
    for bad in (1.5, np.nan):
        path = write_image(tmp_path / "bad.tif", np.array([[0.0, bad]], dtype=np.float32))
        with pytest.raises(DataError, match=r"bad\.tif: floating-point values must lie in 0\.\.1"):
            read_image(path)


def test_32_bit_whole_numbers_are_refused(tmp_path):
    path = write_image(tmp_path / "a.tif", np.array([[0, 70000]], dtype=np.int32))
    with pytest.raises(DataError, match="no usual range"):
        read_image(path)


def test_palette_image_gives_luminance_or_indices(tmp_path):
    coloured = Image.new("P", (2, 2))
    coloured.putdata([0, 1, 2, 1])
    coloured.putpalette([0, 0, 0, 255, 255, 255, 128, 128, 128])
    coloured.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 255], [128, 255]]
    assert read_indices(tmp_path / "a.png").tolist() == [[0, 1], [2, 1]]


def test_bilevel_mask_is_0_and_255(tmp_path):
    Image.fromarray(GREY > 20).save(tmp_path / "a.png")
    assert np.unique(read_mask(tmp_path / "a.png")).tolist() == [0, 255]


def test_colours_are_no_label_file(tmp_path):
    path = write_image(tmp_path / "a.png", np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="one channel of whole numbers, this one is RGB"):
        read_indices(path)


@pytest.mark.parametrize("reader", [original_size, read_image, read_mask, read_indices])
def test_bomb_is_refused_without_allocating(tmp_path, reader):
    path = png_bomb(tmp_path / "bomb.png")
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"bomb\.png: .*larger than {MAX_PIXELS} pixels") as caught:
        reader(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert "\n" not in str(caught.value)


def test_limit_is_exact(tmp_path):
    side = int(MAX_PIXELS**0.5)
    assert original_size(png_bomb(tmp_path / "a.png", side, side)) == (side, side)
    with pytest.raises(DataError, match=f"{side + 1} x {side} is larger"):
        original_size(png_bomb(tmp_path / "b.png", side + 1, side))


def test_warning_band_of_pillow_is_refused_too(tmp_path):
    path = png_bomb(tmp_path / "a.png", 10_000, 10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="larger than"):
            original_size(path)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif"])
def test_truncated_file_is_named(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = truncate(write_image(tmp_path / f"cut.{ending}", noise))
    with pytest.raises(DataError, match=rf"cut\.{ending}: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_other_broken_files_are_named(tmp_path):
    empty, text, folder = tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "folder.png"
    empty.touch()
    text.write_text("no image")
    folder.mkdir()
    for path, words in [
        (empty, "the file is empty"),
        (text, "not a readable"),
        (folder, "cannot be opened"),
        (tmp_path / "none.png", "cannot be opened .No such file"),
        (tmp_path / "volume.mha", "not a known image ending; known: .*png"),
    ]:
        with pytest.raises(DataError, match=f"{path.name}: {words}"):
            read_image(path)


def test_several_pages_are_refused(tmp_path):
    pages = [Image.new("L", (4, 4), value) for value in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="several pages"):
        original_size(tmp_path / "a.tif")


def test_disguised_format_is_read_by_content_of_the_four_formats_only(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match="not a readable PNG"):
        read_image(tmp_path / "a.png")


def test_channels_are_1_or_3(tmp_path):
    with pytest.raises(ConfigError, match="channels must be 1 or 3, not 2"):
        read_image(write_image(tmp_path / "a.png"), channels=2)


def outcome(path):
    try:
        return read_image(path)
    except DataError as error:
        return error


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(position=st.floats(0, 1), value=st.integers(0, 255), ending=st.sampled_from(["png", "bmp", "tif"]))
def test_a_changed_byte_gives_an_image_or_a_data_error(tmp_path, position, value, ending):
    path = write_image(tmp_path / f"a.{ending}", GREY)
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] = value
    path.write_bytes(content)
    result = outcome(path)
    if isinstance(result, DataError):
        assert path.name in str(result)
        assert "\n" not in str(result)
    else:
        assert result.shape[0] == 1


def test_a_further_format_joins_by_its_ending(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_FORMATS", dict(images._FORMATS))
    volume = np.zeros((1, 2, 3, 4), dtype=np.uint8)
    register_format(
        (".nii.gz",),
        Format(
            size=lambda path: volume.shape[1:],
            image=lambda path, channels: volume,
            mask=lambda path: volume[0].astype(np.int32),
            indices=lambda path: volume[0].astype(np.int32),
        ),
    )
    assert original_size("x.nii.gz") == (2, 3, 4)
    assert read_image("x.NII.GZ").shape == (1, 2, 3, 4)
    assert images.strip_ending("a/x.nii.gz") == "a/x"
