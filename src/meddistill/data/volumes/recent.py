"""Keeping what was read last, for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


class RecentArrays:
    """Arrays by key; the least recently used ones are dropped when they fill more than `max_bytes`.

    Threads that ask for the same array at the same time wait for one reading of it. The two arrays asked for
    last are kept whatever their size: image and label of one volume are read in turn. Copies and other
    processes start with nothing.

    Args:
        max_bytes: room for the arrays.

    Example:
        >>> import numpy as np
        >>> recent, read = RecentArrays(), []
        >>> for _ in range(3):
        ...     value = recent.get("a", lambda: read.append(1) or np.zeros(2))
        >>> len(read), value.flags.writeable
        (1, False)
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Future[Array]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RecentArrays], tuple[int]]:
        return RecentArrays, (self.max_bytes,)

    def get(self, key: Hashable, read: Callable[[], Array]) -> Array:
        """The array of `key`, read-only, from `read` when it is not kept; what `read` raises is raised."""
        with self._lock:
            found = self._kept.get(key)
            reading = found is None
            future: Future[Array] = Future() if found is None else found
            self._kept[key] = future
            self._kept.move_to_end(key)
        if reading:
            self._fill(key, future, read)
        return future.result()

    def _fill(self, key: Hashable, future: Future[Array], read: Callable[[], Array]) -> None:
        try:
            array = read()
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            future.set_exception(error)
            return
        array.setflags(write=False)
        future.set_result(array)
        with self._lock:
            self._drop_old()

    def _drop_old(self) -> None:
        """Forget finished arrays, oldest first, until the rest fits."""
        done = [key for key, future in self._kept.items() if future.done()]
        sizes = {key: self._kept[key].result().nbytes for key in done}
        total = sum(sizes.values())
        for key in done[:-2]:
            if total <= self.max_bytes:
                break
            total -= sizes[key]
            del self._kept[key]
