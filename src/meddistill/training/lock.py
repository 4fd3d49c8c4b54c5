"""One process at a time in a run folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from meddistill.errors import RunError


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the system lets go of it however the process ends.

    Where the system has no file locks (Windows) nothing is held.

    Raises:
        RunError: another process holds the folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with only_one(folder), only_one(folder):
        ...     pass
        Traceback (most recent call last):
        ...
        meddistill.errors.RunError: ... is in use by another training; wait for it or choose another folder
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{folder} is in use by another training; wait for it or choose another folder"
            raise RunError(message) from error
        except OSError:  # file systems without locks
            pass
        yield
    finally:
        os.close(handle)
