"""What all weak labels share: a full label map goes in, one with few labelled pixels comes out."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX, Case, Source
from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError, unknown_name

Map = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
Index = tuple[int | slice, ...]
Parts = Literal["class", "object"]


class WeakLabel(ABC):
    """Where the weak label of a case comes from. Subclasses are dataclasses; their fields are the options."""

    @abstractmethod
    def of_case(self, source: Source, case: Case, label: Map, *, original: tuple[int, ...], seed: int) -> Map:
        """The weak label of `case` at the size of `label`, `IGNORE_INDEX` at every unlabelled pixel.

        Args:
            source: has the case.
            case: which one.
            label: its full label map (*S) at the size of training; all ignored where none is known.
            original: spatial size of the case before it was resized.
            seed: decides everything random, together with the id of the case.

        Raises:
            DataError: a file cannot be read or does not fit.
        """


@dataclass(frozen=True, kw_only=True)
class DrawnLabel(WeakLabel):
    """A weak label that is drawn into the full one: only pixels that the full label gives their class.

    Args:
        background: draw into the background (class 0) too.
        parts: draw once for each `class`, or once for each `object`, a connected part of a class.
        axis: for volumes, draw in every slice across this axis by itself; None draws through the volume.

    Raises:
        ConfigError: an option is out of range.
    """

    background: bool = False
    parts: Parts = "class"
    axis: int | None = None

    def __post_init__(self) -> None:
        check_flag("background", self.background)
        check_option("parts", self.parts, get_args(Parts))
        if self.axis is not None:
            check_whole("axis", self.axis, least=0)

    def of_case(
        self,
        source: Source,  # noqa: ARG002 - the full label says it all
        case: Case,
        label: Map,
        *,
        original: tuple[int, ...],  # noqa: ARG002
        seed: int,
    ) -> Map:
        """Draw into the full label of `case`."""
        return self(label, seed=seed, case_id=case.id)

    def __call__(self, label: npt.NDArray[np.integer[Any]], *, seed: int = 0, case_id: str = "") -> Map:
        """The weak label of a full one.

        Args:
            label: integer map (*S) with values 0..K-1 or `IGNORE_INDEX`.
            seed: with the id of the case, decides everything random; the order of cases does not matter.
            case_id: name of the case.

        Returns:
            (*S) int16, `IGNORE_INDEX` at every unlabelled pixel. A class that `label` lacks has none.

        Raises:
            ConfigError: `axis` does not fit the label.
        """
        weak = np.full(label.shape, IGNORE_INDEX, dtype=np.int16)
        name = zlib.crc32(case_id.encode())
        for value in self.classes(label):
            for number, (region, mask) in enumerate(self.regions(label == value)):
                generator = np.random.default_rng(mixed_seed(seed, name, value, number))
                weak[region][self.mark(mask, generator) & mask] = value
        return weak

    @abstractmethod
    def mark(self, mask: Mask, generator: np.random.Generator) -> Mask:
        """The pixels to label, of the same shape; those outside `mask` are dropped afterwards.

        Args:
            mask: where the class (or object) is, cut to its bounding box; never empty.
            generator: the source of chance.
        """

    def classes(self, label: npt.NDArray[np.integer[Any]]) -> list[int]:
        """The classes of `label` to draw into."""
        return [int(value) for value in np.unique(label) if value > 0 or (value == 0 and self.background)]

    def regions(self, mask: Mask) -> Iterator[tuple[Index, Mask]]:
        """Where to draw once each: an index into the map, and the mask of the class (or object) there."""
        for section in self.sections(mask.shape):
            for box, part in _parts_of(mask[section], self.parts):
                yield _joined(section, box, self.axis), part

    def sections(self, shape: tuple[int, ...]) -> list[Index]:
        """Indices of the slices across `axis`, or one of the whole map.

        Raises:
            ConfigError: the map has no such axis, or is itself a slice.
        """
        if self.axis is None:
            return [()]
        if len(shape) < 3 or self.axis >= len(shape):
            raise ConfigError(
                f"weak label: axis {self.axis} draws in the slices of volumes, but the label has "
                f"{len(shape)} axes; leave axis out"
            )
        before = (slice(None),) * self.axis
        return [(*before, position) for position in range(shape[self.axis])]


def _parts_of(mask: Mask, parts: Parts) -> Iterator[tuple[Index, Mask]]:
    """The bounding box of the mask, or of each connected part (corners touch), and what it holds of it."""
    from scipy import ndimage

    if parts == "class":
        numbered = mask.astype(np.uint8)
    else:
        numbered, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        yield box, numbered[box] == number


def _joined(section: Index, box: Index, axis: int | None) -> Index:
    """`box` within `section` as one index of the whole."""
    return box if axis is None else (*box[:axis], section[axis], *box[axis:])


def check_whole(name: str, value: Any, *, least: int) -> None:
    """Refuse what is not a whole number from `least` on.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"weak label: {name} must be a whole number from {least} on, not {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ConfigError: it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"weak label: {name} must be true or false, not {value!r}")


def check_option(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuse a value that is not among `known`.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        raise ConfigError(unknown_name(f"{name} of a weak label", str(value), known))
