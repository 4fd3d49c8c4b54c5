"""How much of a case a weak label covers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.cache import CaseCache
from meddistill.data.case import IGNORE_INDEX


@dataclass(frozen=True)
class PixelCount:
    """The pixels of one weak label.

    Args:
        classes: how many have each class.
        total: how many there are, unlabelled ones included.
    """

    classes: Counter[int]
    total: int

    @property
    def labelled(self) -> int:
        """How many have a class.

        Example:
            >>> PixelCount(Counter({0: 2, 1: 3}), 100).labelled
            5
        """
        return self.classes.total()


def count_pixels(cache: CaseCache, index: int) -> PixelCount:
    """The pixels of the weak label of a case, at the size of training.

    Args:
        cache: made with a supervision.
        index: position of the case.

    Raises:
        ValueError: the cache was made without supervision.
    """
    weak = cache.weak_map(index)
    return PixelCount(count_classes(weak.numpy()), weak.numel())


def count_classes(label: npt.NDArray[np.integer[Any]]) -> Counter[int]:
    """How many pixels of a label map have each class; ignored ones do not count.

    Example:
        >>> count_classes(np.array([[0, 1], [1, -100]]))
        Counter({1: 2, 0: 1})
    """
    values, counts = np.unique(label[label != IGNORE_INDEX], return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))
