"""Fetching named public data sets: download with resume, check, unpack, put into place."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from meddistill.data._folders import new_folder, refuse_existing
from meddistill.data._transfer import download, sha256_of
from meddistill.data._unpack import unpack
from meddistill.errors import DataError, unknown_name


@dataclass(frozen=True)
class Dataset:
    """A data set that `fetch` knows by name.

    Args:
        url: where its owners publish the archive.
        about: what it is, with its paper.
        max_bytes: an archive that unpacks to more is refused.
        sha256: checksum of the archive, or None when none is known.
    """

    url: str
    about: str
    max_bytes: int
    sha256: str | None = None


DATASETS: Mapping[str, Dataset] = MappingProxyType(
    {
        "busi": Dataset(
            url="https://scholar.cu.edu.eg/Dataset_BUSI.zip",
            about="breast ultrasound, 780 images and masks; Al-Dhabyani et al. 2020, Data in Brief 28:104863",
            max_bytes=2 * 1024**3,
        ),
    }
)
"""The data sets by name. Their owners' terms of use apply."""


@dataclass(frozen=True)
class Fetched:
    """What `fetch` put into place.

    Args:
        folder: where the files are.
        files: how many there are.
        sha256: checksum of the archive, hexadecimal.
        verified: whether it was compared with a known one.
    """

    folder: Path
    files: int
    sha256: str
    verified: bool

    @property
    def summary(self) -> str:
        """One line for people, which says whether the checksum was verified.

        Example:
            >>> print(Fetched(Path("busi"), 3, "ab12", verified=False).summary)
            3 files in busi; archive sha256 ab12 was not verified: none is on record (give one to check it)
        """
        state = (
            "is as expected"
            if self.verified
            else "was not verified: none is on record (give one to check it)"
        )
        return f"{self.files} files in {self.folder}; archive sha256 {self.sha256} {state}"


def fetch(
    name: str, destination: Path | str, *, url: str | None = None, sha256: str | None = None
) -> Fetched:
    """Download the data set `name` and unpack it as the new folder `destination`.

    While it comes, the archive lies beside `destination` as `<destination>-<file>.part`, so that the same
    call goes on after an interruption. It is unpacked into a temporary folder that is renamed at the end, and
    a single folder round everything is dropped. Then the archive is removed, as it is when its checksum is
    wrong or it is damaged; it stays only when the disk is full.

    Args:
        name: a key of `DATASETS`.
        destination: a folder that does not exist yet.
        url: another address of the same archive, for example a mirror.
        sha256: expected checksum of the archive, 64 hexadecimal digits; None takes the one on record, if any.

    Raises:
        DataError: the name is unknown, the destination exists, the server fails, the checksum differs, the
            archive is damaged or unsafe, or the disk is full.

    Example:
        >>> fetch("bussi", "data/busi")
        Traceback (most recent call last):
        meddistill.errors.DataError: unknown data set 'bussi'; did you mean 'busi'?
    """
    if name not in DATASETS:
        raise DataError(unknown_name("data set", name, DATASETS))
    dataset, destination = DATASETS[name], Path(destination)
    expected = _checked_digest(sha256 or dataset.sha256)
    refuse_existing(destination)
    address = url or dataset.url
    archive = destination.with_name(f"{destination.name}-{_file_name(address)}")
    if not archive.exists():
        download(address, archive)
    digest = sha256_of(archive)
    if expected is not None and digest != expected:
        archive.unlink()
        raise DataError(f"{address}: sha256 is {digest}, not {expected} as expected; the file was removed")
    files = _install(archive, destination, dataset.max_bytes)
    archive.unlink()
    return Fetched(destination, files, digest, verified=expected is not None)


def _install(archive: Path, destination: Path, max_bytes: int) -> int:
    with new_folder(destination) as temporary:
        try:
            files = unpack(archive, temporary, max_bytes=max_bytes)
        except DataError:
            archive.unlink()
            raise
        _drop_outer_folder(temporary)
    return files


def _drop_outer_folder(folder: Path) -> None:
    """When `folder` holds one folder and nothing else, move what that one holds up."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    outer = folder / uuid.uuid4().hex
    os.replace(entries[0], outer)
    for inner in outer.iterdir():
        os.replace(inner, folder / inner.name)
    outer.rmdir()


def _file_name(url: str) -> str:
    """The last part of an address as a plain file name."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    return re.sub(r"[^\w.-]", "_", last).lstrip(".") or "archive"


def _checked_digest(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DataError(f"sha256 {sha256!r} is not a checksum; give 64 hexadecimal digits")
    return sha256.lower()
