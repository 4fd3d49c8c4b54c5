"""Corruptions: what images suffer in practice, in five severities, each the same in every process.

A corruption is a pure function of an image (C, *S) in 0..1, a severity and a seed. What is random is drawn by
the seed and not by the severity: a shadow grows where it is. The seed of a case comes from its id
(`case_seed`), so that neither the order of work nor the number of processes changes an image.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from meddistill.data.seeding import mixed_seed
from meddistill.errors import ConfigError, unknown_name
from meddistill.evaluation.corruptions import general, imagenet_c, mr, ultrasound
from meddistill.evaluation.corruptions.base import SEVERITIES, Corruption, Image, check_severity

__all__ = [
    "CORRUPTIONS",
    "GROUPS",
    "SEVERITIES",
    "Corruption",
    "case_seed",
    "check_severity",
    "corrupt",
    "corruptions_of",
]

_FAMILIES: Mapping[str, tuple[Corruption, ...]] = {
    "imagenet-c": tuple(imagenet_c.imagenet_c(name) for name in imagenet_c.NAMES),
    "ultrasound": ultrasound.KINDS,
    "mr": mr.KINDS,
    "general": general.KINDS,
}

GROUPS: Mapping[str, tuple[str, ...]] = {
    name: tuple(kind.name for kind in kinds) for name, kinds in _FAMILIES.items()
}
"""Names of the kinds of each group."""

CORRUPTIONS: Mapping[str, Corruption] = {kind.name: kind for kinds in _FAMILIES.values() for kind in kinds}
"""Every kind by name."""

ALL = "all"
"""Stands for every kind that makes sense for the images."""


def corrupt(image: Image, name: str, severity: int, *, seed: int) -> Image:
    """The image under the corruption called `name`.

    Args:
        image: (C, *S) in 0..1.
        name: a key of `CORRUPTIONS`.
        severity: 1 to 5.
        seed: draws all that is random; see `case_seed`.

    Raises:
        ConfigError: an unknown name or severity, or the library of ImageNet-C is not installed.
        DataError: the image does not suit this kind.

    Example:
        >>> import numpy as np
        >>> image = np.full((1, 8, 8), 0.5, np.float32)
        >>> weak, strong = (corrupt(image, "rician_noise", severity, seed=0).std() for severity in (1, 5))
        >>> bool(0.02 < weak < 0.1 < strong)
        True
    """
    return _kind(name)(image, severity, seed=seed)


def case_seed(seed: int, name: str, case: str) -> int:
    """The seed of a kind for the case with this id, whatever the severity.

    Example:
        >>> len({case_seed(0, "fog", "a"), case_seed(0, "fog", "a"), case_seed(0, "fog", "b")})
        2
    """
    return mixed_seed(seed, zlib.crc32(name.encode()), zlib.crc32(case.encode()))


def corruptions_of(asked: Iterable[str], *, dims: int) -> tuple[Corruption, ...]:
    """The kinds that names, groups or `all` stand for, each once, in the order of `CORRUPTIONS`.

    Args:
        asked: names of kinds or of `GROUPS`, or `all`.
        dims: spatial axes of the images; `all` leaves out what makes no sense for them.

    Raises:
        ConfigError: an unknown name, or the library of ImageNet-C is needed and not installed.
        DataError: a kind or group that makes no sense for such images.

    Example:
        >>> [kind.name for kind in corruptions_of(["mr", "jpeg"], dims=2)]
        ['bias_field', 'motion_ghosting', 'rician_noise', 'jpeg']
        >>> len(corruptions_of(["all"], dims=3))
        7
    """
    wanted: set[str] = set()
    for name in asked:
        if name == ALL:
            wanted |= {kind.name for kind in CORRUPTIONS.values() if dims in kind.dims}
        else:
            wanted |= set(GROUPS.get(name) or (_kind(name).name,))
    chosen = tuple(kind for kind in CORRUPTIONS.values() if kind.name in wanted)
    for kind in chosen:
        kind.check_dims(dims)
    if wanted.intersection(imagenet_c.NAMES):
        imagenet_c.check_installed()
    return chosen


def _kind(name: str) -> Corruption:
    if name not in CORRUPTIONS:
        known = [ALL, *GROUPS, *CORRUPTIONS]
        raise ConfigError(f"--corruption: {unknown_name('corruption', name, known)}")
    return CORRUPTIONS[name]
