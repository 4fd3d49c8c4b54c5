"""The longest way through a mask that keeps to its middle."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from meddistill.data.weak.base import Mask
from meddistill.data.weak.shapes import depth

Pixels = npt.NDArray[np.intp]


def central_path(mask: Mask) -> Pixels:
    """Pixels (n, dims) from one end of the mask to the other, in order, as deep inside as they can be.

    The ends are as far apart as a walk within the mask can be (found by two sweeps, the first from the
    deepest pixel). Between them runs the way whose steps, each weighted by the inverse square of the depth,
    cost least, so that it follows the ridge of the distance map as a skeleton does. Parts of the mask that
    do not touch the deepest pixel are left out.

    Args:
        mask: (*S), not empty.

    Example:
        >>> central_path(np.ones((3, 6), dtype=bool))[:, 0].tolist()
        [0, 1, 1, 1, 1, 2]
    """
    from scipy.sparse.csgraph import dijkstra

    deep = depth(mask)[mask]
    lengths, costs = _graphs(mask, deep)
    start = _farthest(dijkstra(lengths, directed=False, indices=int(deep.argmax())))
    end = _farthest(dijkstra(lengths, directed=False, indices=start))
    _, before = dijkstra(costs, directed=False, indices=start, return_predecessors=True)
    way = [end]
    while way[-1] != start:
        way.append(int(before[way[-1]]))
    return np.argwhere(mask)[way[::-1]]


def _farthest(distances: npt.NDArray[np.float64]) -> int:
    return int(np.where(np.isfinite(distances), distances, -1.0).argmax())


def _graphs(mask: Mask, deep: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Neighbouring pixels (corners touch) joined by the length of the step, and by its cost."""
    from scipy.sparse import csr_array

    numbers = np.full(mask.shape, -1)
    numbers[mask] = np.arange(len(deep))
    pairs = [_neighbours(numbers, step) for step in _half_of_the_steps(mask.ndim)]
    first, second, length = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    cost = length * (1 / deep[first] ** 2 + 1 / deep[second] ** 2) / 2
    shape = (len(deep), len(deep))
    return csr_array((length, (first, second)), shape), csr_array((cost, (first, second)), shape)


def _half_of_the_steps(dims: int) -> list[tuple[int, ...]]:
    """One of each two opposite steps to a neighbour."""
    return [step for step in itertools.product((-1, 0, 1), repeat=dims) if step > (0,) * dims]


def _neighbours(numbers: Pixels, step: tuple[int, ...]) -> tuple[Pixels, Pixels, npt.NDArray[np.float64]]:
    """Numbers of the pixels that a step leads from and to, where both are in the mask, and its length."""
    leave = tuple(slice(max(0, -move), min(0, -move) or None) for move in step)
    reach = tuple(slice(max(0, move), min(0, move) or None) for move in step)
    first, second = numbers[leave].ravel(), numbers[reach].ravel()
    both = (first >= 0) & (second >= 0)
    return first[both], second[both], np.full(int(both.sum()), float(np.linalg.norm(step)))
