"""Unpacking zip and tar archives from elsewhere: nothing leaves the folder, nothing grows without bound."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from meddistill.errors import DataError

MAX_MEMBERS = 1_000_000
"""Archives with more entries are refused."""

_CHUNK = 1 << 20
_FOREIGN = re.compile(r"^[A-Za-z]:|[\\\0]")  # drive letters and separators of other systems
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # an encrypted member
)


@dataclass(frozen=True)
class _Member:
    """An entry of an archive; `open` gives its bytes and is None for a folder."""

    name: str
    open: Callable[[], IO[bytes]] | None


def unpack(archive: Path, folder: Path, *, max_bytes: int) -> int:
    """Unpack a zip or (compressed) tar archive into `folder` and return the number of files written.

    Refused are absolute names, names with `..`, links, devices, entries that occur twice, and archives that
    unpack to more than `max_bytes`, as counted while writing. Permissions and owners are not taken over;
    `__MACOSX` and `.DS_Store` are left out.

    Raises:
        DataError: the archive is refused, damaged or of another kind. Files written so far stay in `folder`.
        OSError: `folder` cannot be written.
    """
    left, files = max_bytes, 0
    for count, member in enumerate(_members(archive)):
        if count >= MAX_MEMBERS:
            raise DataError(f"{archive}: has more than {MAX_MEMBERS} entries, refused")
        parts = _safe_parts(archive, member.name)
        if not parts or parts[0] == "__MACOSX" or parts[-1] == ".DS_Store":
            continue
        target = folder.joinpath(*parts)
        try:
            (target if member.open is None else target.parent).mkdir(parents=True, exist_ok=True)
            if member.open is not None:
                left -= _write(archive, member.open, target, left)
                files += 1
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise DataError(
                f"{archive}: entry {member.name!r} occurs twice; the archive is refused"
            ) from error
    if not files:
        raise DataError(f"{archive}: the archive holds no files")
    return files


def _members(archive: Path) -> Iterator[_Member]:
    """The entries of an archive; raises `DataError` for links, devices and damage."""
    with open(archive, "rb") as stream:
        is_zip = stream.read(2) == b"PK"
    try:
        yield from _zip_members(archive) if is_zip else _tar_members(archive)
    except (*_BROKEN, OSError) as error:  # gzip reports damage as OSError
        raise _damaged(archive, error) from error


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _link(archive, info.filename)
            yield _Member(info.filename, None if info.is_dir() else partial(opened.open, info))


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise _link(archive, info.name)
            yield _Member(info.name, None if info.isdir() else partial(_extract, opened, info))


def _extract(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return stream


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a relative name that stays inside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or _FOREIGN.search(name):
        raise DataError(
            f"{archive}: entry {name!r} would be written outside the folder; the archive is refused"
        )
    return path.parts


def _write(archive: Path, open_member: Callable[[], IO[bytes]], target: Path, limit: int) -> int:
    """Copy one member to `target` and return its size."""
    size = 0
    try:
        with open_member() as source, open(target, "xb") as sink:
            while chunk := _read(archive, source):
                size += len(chunk)
                if size > limit:
                    raise DataError(
                        f"{archive}: unpacks to more than is expected of it; the archive is refused"
                    )
                sink.write(chunk)
    except _BROKEN as error:
        raise _damaged(archive, error) from error
    return size


def _read(archive: Path, source: IO[bytes]) -> bytes:
    try:
        return source.read(_CHUNK)
    except OSError as error:  # gzip reports damage this way
        raise _damaged(archive, error) from error


def _link(archive: Path, name: str) -> DataError:
    return DataError(f"{archive}: entry {name!r} is a link or a device; the archive is refused")


def _damaged(archive: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{archive}: not a readable zip or tar archive ({reason}); fetch it again")
