"""Reading image and mask files, safely.

The size in the header is checked before anything is decoded, and whatever goes wrong becomes one `DataError`
that names the file. Further formats join by `register_format`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from meddistill.errors import ConfigError, DataError

MAX_PIXELS = 2**26
"""Images with more pixels (8192 x 8192) are refused unread; whole slides must be cut into tiles first."""

_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Format:
    """How to read one kind of file. Every function takes the path and raises `DataError`.

    Args:
        size: the spatial size, read from the header alone.
        image: the image (C, *S) with the wanted number of channels, uint8 or float32 in 0..1.
        mask: one channel of grey values (*S), colours turned into luminance.
        indices: one channel of the numbers as stored (*S), so that a palette image gives its palette indices.
    """

    size: Callable[[Path], tuple[int, ...]]
    image: Callable[[Path, int], npt.NDArray[np.generic]]
    mask: Callable[[Path], npt.NDArray[np.int32]]
    indices: Callable[[Path], npt.NDArray[np.int32]]


_FORMATS: dict[str, Format] = {}


def register_format(endings: tuple[str, ...], file_format: Format) -> None:
    """Read files whose name ends in one of `endings` (lower case, with the dot) by `file_format`."""
    _FORMATS.update(dict.fromkeys(endings, file_format))


def image_endings() -> tuple[str, ...]:
    """All endings that can be read, longest first.

    Example:
        >>> ".png" in image_endings()
        True
    """
    return tuple(sorted(_FORMATS, key=lambda ending: (-len(ending), ending)))


def strip_ending(name: str) -> str:
    """`name` without its image ending; unchanged when it has none.

    Example:
        >>> strip_ending("benign/benign (1).png"), strip_ending("frame.0")
        ('benign/benign (1)', 'frame.0')
    """
    ending = _ending(name)
    return name[: -len(ending)] if ending else name


def is_image(path: Path | str) -> bool:
    """True when the file's ending is one that can be read.

    Example:
        >>> is_image("a/b.PNG"), is_image("notes.txt")
        (True, False)
    """
    return _ending(str(path)) is not None


def original_size(path: Path | str) -> tuple[int, ...]:
    """The spatial size in array order, (H, W) for plain images, from the header alone.

    Raises:
        DataError: the file is missing, empty, not an image, or larger than `MAX_PIXELS`.
    """
    return _format_of(path).size(Path(path))


def stored_mode(path: Path | str) -> str:
    """How Pillow names the pixels of a file, such as L, RGB, P or I;16, from the header alone.

    Returns:
        The name; empty where Pillow does not read the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.png")
        >>> Image.new("RGBA", (5, 4)).save(path)
        >>> stored_mode(path), stored_mode("a.npz")
        ('RGBA', '')
    """
    try:
        with _opened(Path(path)) as image:
            return image.mode
    except DataError:
        return ""


def read_image(path: Path | str, channels: int = 1) -> npt.NDArray[np.generic]:
    """The image as (C, H, W), at its original size.

    Images of 8 bits come as uint8 in 0..255. Images of 16 bits come as float32, divided by 65535: the full
    range of the type, so that a 12-bit image in a 16-bit file fills only 0..0.0625. Floating-point TIFFs must
    lie in 0..1. Colour becomes luminance for one channel; grey is repeated for three. Alpha and orientation
    tags are ignored.

    Args:
        path: PNG, JPEG, BMP or TIFF (or what `register_format` added).
        channels: 1 or 3.

    Raises:
        DataError: the file is missing, empty, truncated, not an image, too large, or has several pages.
        ConfigError: `channels` is neither 1 nor 3.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.png")
        >>> Image.new("RGB", (5, 4), (255, 0, 0)).save(path)
        >>> read_image(path, 3).shape, int(read_image(path, 1)[0, 0, 0])
        ((3, 4, 5), 76)
    """
    if channels not in (1, 3):
        raise ConfigError(f"channels must be 1 or 3, not {channels!r}")
    return _format_of(path).image(Path(path), channels)


def read_mask(path: Path | str) -> npt.NDArray[np.int32]:
    """The grey values of a mask as (H, W), 0..255 or 0..65535; colours become luminance.

    Raises:
        DataError: as for `read_image`.
    """
    return _format_of(path).mask(Path(path))


def read_indices(path: Path | str) -> npt.NDArray[np.int32]:
    """The stored numbers of a one-channel label file as (H, W); a palette image gives its palette indices.

    Raises:
        DataError: as for `read_image`, or the file holds colours.
    """
    return _format_of(path).indices(Path(path))


def _ending(name: str) -> str | None:
    lower = name.lower()
    return next((ending for ending in image_endings() if lower.endswith(ending)), None)


def _format_of(path: Path | str) -> Format:
    ending = _ending(str(path))
    if ending is None:
        raise DataError(f"{path}: not a known image ending; known: {', '.join(sorted(_FORMATS))}")
    return _FORMATS[ending]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image with its header read; whatever Pillow raises, here or in the body, names the file."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty (0 bytes)")
        with Image.open(path, formats=_PILLOW_FORMATS) as image:
            _check_header(path, image)
            yield image
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(path)) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a readable PNG, JPEG, BMP or TIFF image") from error
    except Exception as error:  # Pillow's decoders raise almost any type on broken bytes
        raise DataError(_unreadable(path, error)) from error


def _check_header(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(_too_large(path, f"{width} x {height} is "))
    if image.format in ("PNG", "TIFF") and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{path}: holds several pages; save each page as a file of its own")


def _too_large(path: Path, size: str = "") -> str:
    return f"{path}: {size}larger than {MAX_PIXELS} pixels, refused without decoding; crop or tile the image"


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: cannot be opened ({error.strerror})"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: cannot be decoded ({reason}); the file is damaged or truncated"


def _pillow_size(path: Path) -> tuple[int, ...]:
    with _opened(path) as image:
        return image.size[1], image.size[0]


def _pillow_image(path: Path, channels: int) -> npt.NDArray[np.generic]:
    with _opened(path) as image:
        if _is_deep(image):
            return np.repeat(_deep_values(path, image)[None], channels, axis=0)
        if channels == 1:
            return np.array(image.convert("L"))[None]
        return np.ascontiguousarray(np.array(image.convert("RGB")).transpose(2, 0, 1))


def _pillow_mask(path: Path) -> npt.NDArray[np.int32]:
    with _opened(path) as image:
        return np.array(image if _is_deep(image) else image.convert("L")).astype(np.int32)


def _pillow_indices(path: Path) -> npt.NDArray[np.int32]:
    with _opened(path) as image:
        values = np.array(image)
    if values.ndim != 2 or values.dtype.kind == "f":
        raise DataError(f"{path}: a label file needs one channel of whole numbers, this one is {image.mode}")
    return values.astype(np.int32)


def _is_deep(image: Image.Image) -> bool:
    return image.mode in (*_SIXTEEN_BITS, "I", "F")


def _deep_values(path: Path, image: Image.Image) -> npt.NDArray[np.float32]:
    values = np.array(image).astype(np.float32)
    if image.mode != "F":
        if image.mode == "I" and image.format != "PNG":
            raise DataError(
                f"{path}: 32-bit whole numbers have no usual range; save the image with 8 or 16 bits"
            )
        return values / np.float32(65535)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"{path}: floating-point values must lie in 0..1, these run from {low:g} to {high:g}")
    return values


register_format(
    (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    Format(size=_pillow_size, image=_pillow_image, mask=_pillow_mask, indices=_pillow_indices),
)
