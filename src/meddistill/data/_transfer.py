"""Fetching one file over HTTP so that an interrupted transfer goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from meddistill.errors import DataError
from meddistill.progress import progress

TIMEOUT_SECONDS = 30.0
"""How long a silent server is waited for."""

_CHUNK = 1 << 18
_HEADERS = {"User-Agent": "meddistill", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class _Origin:
    """What tells whether the file on the server is still the one that a part was cut from."""

    url: str
    etag: str | None = None
    modified: str | None = None
    length: int | None = None

    @property
    def validator(self) -> str | None:
        """Value of an `If-Range` header: a strong ETag or, failing that, the date of the last change."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def download(url: str, file: Path) -> None:
    """Write what `url` gives to `file`, by way of `<file>.part`, which is kept when the transfer breaks.

    A part goes on by an HTTP `Range` request when the server told an ETag, a date or a length for it and
    still tells the same; otherwise the file is fetched anew.

    Raises:
        DataError: not an http or https address, the server cannot be reached, answers with an error, sends
            less than it announced, or the file cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise DataError(f"cannot fetch {url!r}: give an address that starts with http:// or https://")
    part, notes = file.with_name(f"{file.name}.part"), file.with_name(f"{file.name}.part.json")
    have, known = part.stat().st_size if part.exists() else 0, _read_notes(notes)
    with _open(url, have, known) as response:
        start = have if response.status == 206 else 0
        origin = _origin(url, response)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            notes.write_text(json.dumps(asdict(origin)), encoding="utf-8")
            _copy(response, part, start, origin)
            os.replace(part, file)
            notes.unlink()
        except OSError as error:
            raise DataError(f"cannot write {file}: {error.strerror or error}; free some space") from error


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "empty"
        >>> file.touch()
        >>> sha256_of(file)[:8]
        'e3b0c442'
    """
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _network(url: str) -> Iterator[None]:
    """Turn whatever the connection raises into one line."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"cannot fetch {url}: the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError | ssl.SSLError) else error
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        raise DataError(f"cannot fetch {url}: {reason}; check the connection and try again") from error


def _open(url: str, have: int, known: _Origin | None) -> http.client.HTTPResponse:
    """The answer with the file from byte `have` on (status 206) or, if that cannot be had, with all of it."""
    if known is not None and have and known.url == url and (known.validator or known.length):
        wanted = {"Range": f"bytes={have}-"}
        if known.validator:
            wanted["If-Range"] = known.validator
        try:
            response = _request(url, wanted)
        except DataError as error:
            refused = error.__cause__
            if not (isinstance(refused, urllib.error.HTTPError) and refused.code == 416):
                raise
        else:
            if response.status != 206 or _continues(response, have, known):
                return response
            response.close()
    return _request(url, {})


def _request(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={**_HEADERS, **headers})
    with _network(url):
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    return response


def _continues(response: http.client.HTTPResponse, have: int, known: _Origin) -> bool:
    """True when a partial answer starts at byte `have` of the file that `known` describes."""
    now = _origin(known.url, response)
    begins = (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
    return begins and now.length == (known.length or now.length) and now.etag == known.etag


def _origin(url: str, response: http.client.HTTPResponse) -> _Origin:
    headers = response.headers
    length = headers.get("Content-Length")
    if response.status == 206:
        length = (headers.get("Content-Range") or "").rpartition("/")[2]
    number = int(length) if length and length.isdigit() else None
    return _Origin(url, headers.get("ETag"), headers.get("Last-Modified"), number)


def _copy(response: http.client.HTTPResponse, part: Path, start: int, origin: _Origin) -> None:
    size = start
    name = part.name.removesuffix(".part")
    with (
        progress(name, origin.length, done=start, in_bytes=True) as advance,
        open(part, "ab" if start else "wb") as stream,
    ):
        while chunk := _read(response, origin.url):
            stream.write(chunk)
            size += len(chunk)
            advance(len(chunk))
    if origin.length is not None and size != origin.length:
        raise DataError(
            f"cannot fetch {origin.url}: the connection ended after {size} of {origin.length} bytes; "
            "the same command goes on from there"
        )


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    with _network(url):
        return response.read(_CHUNK)


def _read_notes(notes: Path) -> _Origin | None:
    """What was noted beside a part; None when there is nothing usable."""
    try:
        return _Origin(**json.loads(notes.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
