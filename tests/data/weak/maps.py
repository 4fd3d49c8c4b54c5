"""Full label maps to draw weak labels into."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.weak import WEAK_LABELS

DRAWN = [name for name in WEAK_LABELS if name not in ("file", "none")]


def label_maps(dims=(2, 3)):
    """Small maps of three classes and ignored pixels, noisy ones and ones with large objects."""
    shapes = st.sampled_from(dims).flatmap(lambda n: st.tuples(*[st.integers(1, 7)] * n))
    values = st.sampled_from([0, 0, 1, 2, IGNORE_INDEX])
    noisy = shapes.flatmap(lambda shape: arrays.arrays(np.int16, shape, elements=values))
    return noisy | noisy.map(lambda label: label.repeat(3, 0).repeat(3, 1))


def disc(size=21, radius=8, value=1):
    """A disc in the middle of a square."""
    grid = np.arange(size) - size // 2
    return np.where(np.add.outer(grid**2, grid**2) <= radius**2, value, 0).astype(np.int16)


def ring(size=31, inner=6, outer=12):
    """A ring (class 2) round a disc (class 1)."""
    grid = np.arange(size) - size // 2
    distance = np.sqrt(np.add.outer(grid**2, grid**2))
    return np.where(distance <= inner, 1, np.where(distance <= outer, 2, 0)).astype(np.int16)
