import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from meddistill.data.volumes.recent import RecentArrays


class Reader:
    """Arrays of 800 bytes; counts how often each was read."""

    def __init__(self):
        self.read = []
        self.lock = threading.Lock()

    def __call__(self, key):
        def read():
            with self.lock:
                self.read.append(key)
            return np.full(100, key, dtype=np.float64)

        return read


def test_many_threads_read_each_array_once():
    recent, reader = RecentArrays(), Reader()
    keys = [place // 50 for place in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: recent.get(key, reader(key))[0], keys))
    assert found == keys
    assert sorted(reader.read) == list(range(20))


def test_memory_is_bounded_and_the_oldest_goes_first():
    recent, reader = RecentArrays(max_bytes=1700), Reader()
    for key in (1, 2, 1, 3, 1, 2):
        recent.get(key, reader(key))
    assert reader.read == [1, 2, 3, 2]


def test_the_last_two_stay_however_large():
    """Image and label of one large volume, slice after slice, must not drive each other out."""
    recent, reader = RecentArrays(max_bytes=10), Reader()
    for key in (1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 2):
        recent.get(key, reader(key))
    assert reader.read == [1, 2, 3, 4, 2]


def test_a_failure_is_raised_and_tried_again():
    recent = RecentArrays()

    def fail():
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            recent.get("a", fail)
    assert recent.get("a", lambda: np.ones(1)).tolist() == [1]


def test_what_is_kept_cannot_be_changed_and_stays_in_its_process():
    recent, reader = RecentArrays(99), Reader()
    with pytest.raises(ValueError, match="read-only"):
        recent.get(1, reader(1))[0] = 5
    copy = pickle.loads(pickle.dumps(recent))  # noqa: S301
    assert copy.max_bytes == 99
    copy.get(1, reader(1))
    assert reader.read == [1, 1]
