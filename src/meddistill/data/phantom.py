"""A built-in data set: speckled B-mode ultrasound-like images with lesions of graded boundary clarity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddistill.data import _speckle
from meddistill.data.case import Case
from meddistill.errors import ConfigError, DataError

MIN_SIDE = 32
"""Smallest side of a phantom in pixels; below it the lesions are smaller than the speckle."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def phantom_case(
    seed: int | tuple[int, ...],
    *,
    size: tuple[int, ...] = (128, 128),
    clarity: float | None = None,
    lesions: int | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """One synthetic ultrasound image (or volume) and its lesion mask, the same for the same arguments.

    Layered tissue with septa and fat lobules is darkened by hypoechoic lesions with a posterior shadow or
    enhancement, attenuated with depth, multiplied by correlated Rayleigh speckle and log-compressed. The
    label holds the lesion's true outline; `clarity` sets how much of that outline the image shows.

    Args:
        seed: non-negative integer, or several, for example `(source seed, case number)`.
        size: 2 or 3 spatial sizes in pixels, each at least `MIN_SIDE`; the first is depth along the beam.
        clarity: 0 (low contrast, an edge nearly half the lesion wide) to 1 (crisp); None draws one.
        lesions: how many lesions to draw, 0 for normal tissue; None draws one, or now and then two.

    Returns:
        image (1, *S) uint8 and label (*S) int16 with 0 background and 1 lesion.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> image, label = phantom_case(7, size=(64, 96), clarity=0.9)
        >>> image.shape, image.dtype.name, label.shape, np.unique(label).tolist()
        ((1, 64, 96), 'uint8', (64, 96), [0, 1])
        >>> phantom_case(7, size=(64, 96), lesions=0)[1].any().item()
        False
    """
    size = _checked_size(size)
    rng = _generator(seed)
    drawn_clarity, drawn_lesions = rng.uniform(), 1 + int(rng.uniform() < 0.12)
    clarity = drawn_clarity if clarity is None else _checked_fraction("clarity", clarity)
    count = drawn_lesions if lesions is None else lesions
    if count < 0:
        raise ConfigError(f"lesions is {count}; give 0 or more")
    echo = _speckle.tissue(rng, size)
    label = np.zeros(size, dtype=np.int16)
    for _ in range(count):
        lesion = _speckle.draw_lesion(rng, size, clarity)
        echo = _speckle.add_lesion(echo, lesion, rng)
        label[lesion.distance < 0] = 1
    echo = echo + _speckle.beam(rng, size) + _speckle.speckle(rng, size)
    return _speckle.compress(echo)[None], label


@dataclass(frozen=True)
class PhantomSource:
    """A source of phantom cases; case i depends on `seed`, `size`, `normal_fraction` and i alone.

    Strata are `clear` (clarity at least 0.5), `fuzzy` (below) and `normal` (no lesion). Shares hold in every
    prefix of the cases: kind and clarity follow a golden-ratio sequence that starts where `seed` says.

    Args:
        num_cases: how many cases, at least 1.
        size: 2 or 3 spatial sizes in pixels, each at least `MIN_SIDE`.
        seed: non-negative integer.
        normal_fraction: share of cases without a lesion, 0..1.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> source = PhantomSource(20, size=(64, 64), seed=1, normal_fraction=0.2)
        >>> len(source.cases), sum(case.stratum == "normal" for case in source.cases)
        (20, 4)
        >>> source.read_image(source.cases[0]).shape
        (1, 64, 64)
    """

    num_cases: int = 120
    size: tuple[int, ...] = (128, 128)
    seed: int = 0
    normal_fraction: float = 0.15

    def __post_init__(self) -> None:
        if self.num_cases < 1:
            raise ConfigError(f"num_cases is {self.num_cases}; give at least 1")
        object.__setattr__(self, "size", _checked_size(self.size))
        _checked_fraction("normal_fraction", self.normal_fraction)
        _generator(self.seed)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases, named like the files that `write_phantom` writes."""
        return tuple(self._name_cases())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Background and lesion."""
        return ("background", "lesion")

    @property
    def in_channels(self) -> int:
        """One grey channel."""
        return 1

    @property
    def dims(self) -> int:
        """2 or 3, from `size`."""
        return len(self.size)

    def clarity(self, case: Case) -> float | None:
        """Clarity in 0..1 with which the lesions of `case` are drawn; None when it has no lesion."""
        return self._clarity(self._index(case))

    def read_image(self, case: Case) -> npt.NDArray[np.uint8]:
        """The image of `case`, (1, *S) uint8."""
        return self._generate(case)[0]

    def read_label(self, case: Case) -> npt.NDArray[np.int16]:
        """The lesion mask of `case`, (*S) int16."""
        return self._generate(case)[1]

    def _generate(self, case: Case) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
        index = self._index(case)
        clarity = self._clarity(index)
        lesions = 0 if clarity is None else None
        return phantom_case((self.seed, index), size=self.size, clarity=clarity, lesions=lesions)

    def _name_cases(self) -> Iterator[Case]:
        counts: dict[str, int] = {}
        for index in range(self.num_cases):
            clarity = self._clarity(index)
            stratum = "normal" if clarity is None else "clear" if clarity >= 0.5 else "fuzzy"
            counts[stratum] = counts.get(stratum, 0) + 1
            name = f"{stratum}/{stratum} ({counts[stratum]})"
            yield Case(id=name, group=name, stratum=stratum)

    def _clarity(self, index: int) -> float | None:
        position = (self._start + index * _GOLDEN) % 1.0
        if position < self.normal_fraction:
            return None
        return (position - self.normal_fraction) / (1.0 - self.normal_fraction)

    @cached_property
    def _start(self) -> float:
        return float(_generator(self.seed).uniform())

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {case.id: index for index, case in enumerate(self.cases)}

    def _index(self, case: Case) -> int:
        try:
            return self._positions[case.id]
        except KeyError:
            raise DataError(f"{case.id} is no case of this phantom of {self.num_cases} cases") from None


def write_phantom(folder: Path | str, source: PhantomSource) -> Path:
    """Write a 2D phantom as class folders of PNG files, `clear/clear (1).png` and `clear/clear (1)_mask.png`.

    Masks hold 0 and 255; normal cases get an empty mask, as in the BUSI data set. The folder appears whole or
    not at all.

    Raises:
        DataError: the phantom is 3D, `folder` exists already, or it cannot be written.

    Example:
        >>> import tempfile
        >>> folder = write_phantom(Path(tempfile.mkdtemp()) / "phantom", PhantomSource(3, size=(32, 32)))
        >>> len(list(folder.glob("*/*_mask.png")))
        3
    """
    from meddistill.data._folders import new_folder

    if source.dims != 2:
        raise DataError(f"a phantom of size {source.size} cannot be written as PNG; give 2 sizes, not 3")
    with new_folder(folder) as temporary:
        for case in source.cases:
            _write_case(temporary / case.id, *source._generate(case))
    return Path(folder)


def _write_case(stem: Path, image: npt.NDArray[np.uint8], label: npt.NDArray[np.int16]) -> None:
    from PIL import Image

    stem.parent.mkdir(exist_ok=True)
    Image.fromarray(image[0]).save(stem.with_name(f"{stem.name}.png"))
    Image.fromarray((label * 255).astype(np.uint8)).save(stem.with_name(f"{stem.name}_mask.png"))


def _generator(seed: int | tuple[int, ...]) -> np.random.Generator:
    try:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"seed is {seed!r}; give an integer of 0 or more") from error


def _checked_size(size: tuple[int, ...]) -> tuple[int, ...]:
    if len(size) not in (2, 3) or any(int(side) != side or side < MIN_SIDE for side in size):
        raise ConfigError(f"size is {tuple(size)}; give 2 or 3 whole numbers of at least {MIN_SIDE}")
    return tuple(int(side) for side in size)


def _checked_fraction(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} is {value}; give a number from 0 to 1")
    return float(value)
