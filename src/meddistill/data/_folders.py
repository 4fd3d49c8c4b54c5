"""Making a folder so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from meddistill.errors import DataError


@contextlib.contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success rename it to `path`, on failure remove it.

    Raises:
        DataError: `path` exists already, or its parent cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "data"
        >>> with new_folder(target) as temporary:
        ...     _ = (temporary / "a.txt").write_text("whole")
        >>> (target / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        refuse_existing(path)
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Raise `DataError` when there is already something at `path`."""
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} exists already; remove it or choose another folder")
