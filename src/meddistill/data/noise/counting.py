"""What label noise did, in numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.noise.base import Labels


def count_changes(clean: Labels, noisy: Labels, num_classes: int) -> npt.NDArray[np.int64]:
    """How often each class (row) was noted as each class (column), (K, K).

    Args:
        clean: labels or a label map, any shape, 0..K-1 or `IGNORE_INDEX`, which is not counted.
        noisy: the same, afterwards.
        num_classes: K.

    Example:
        >>> count_changes(np.array([0, 0, 1, -100]), np.array([0, 1, 1, -100]), 2)
        array([[1, 1],
               [0, 1]])
    """
    known = clean != IGNORE_INDEX
    pairs = clean[known].astype(np.int64) * num_classes + noisy[known].astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
