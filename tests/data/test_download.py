from __future__ import annotations

import contextlib
import hashlib
import io
import resource
import signal
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from meddistill.data import download as module
from meddistill.data.download import DATASETS, Fetched, fetch
from meddistill.errors import DataError

FILES = {
    "Dataset_BUSI_with_GT/benign/benign (1).png": b"image" * 9000,
    "Dataset_BUSI_with_GT/benign/benign (1)_mask.png": b"mask",
    "Dataset_BUSI_with_GT/normal/normal (1).png": b"other",
}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def tarred(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, content: bytes = b"x", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, content


@dataclass
class Site:
    """One file on a loopback server, and how the server behaves."""

    content: bytes = field(default_factory=lambda: zipped(FILES))
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    status: int = 200
    cut_after: int | None = None
    announce: bool = True
    wrong_range: bool = False
    requests: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files/Dataset_BUSI.zip"

    def start_of(self, headers: dict[str, str]) -> int:
        wanted = headers.get("Range")
        fresh = headers.get("If-Range") in (None, self.etag, self.modified)
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fresh and self.ranges else 0


@pytest.fixture
def site() -> Iterator[Site]:
    shown = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            headers = dict(self.headers.items())
            shown.requests.append(headers)
            start, total = shown.start_of(headers), len(shown.content)
            if shown.status != 200 or start >= total:
                self.send_error(shown.status if shown.status != 200 else 416)
                return
            self.send_response(206 if start else 200)
            if start:
                first = start + 1 if shown.wrong_range else start
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            for name, value in (("ETag", shown.etag), ("Last-Modified", shown.modified)):
                if value:
                    self.send_header(name, value)
            if shown.announce:
                self.send_header("Content-Length", str(total - start))
            self.end_headers()
            self.wfile.write(shown.content[start : shown.cut_after])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shown.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield shown
    server.shutdown()
    server.server_close()
    thread.join()


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def cut_once(site: Site, destination: Path, after: int) -> None:
    site.cut_after = after
    with pytest.raises(DataError, match=rf"ended after {after} of {len(site.content)} bytes"):
        fetch("busi", destination, url=site.url)
    site.cut_after = None
    site.requests.clear()


def test_full_download_is_flattened_and_leaves_nothing_else(site, tmp_path):
    digest = hashlib.sha256(site.content).hexdigest()
    fetched = fetch("busi", tmp_path / "data" / "busi", url=site.url)
    assert fetched == Fetched(tmp_path / "data" / "busi", 3, digest, verified=False)
    assert "not verified" in fetched.summary
    assert tree(tmp_path) == {
        name.replace("Dataset_BUSI_with_GT", "data/busi"): content for name, content in FILES.items()
    }


def test_right_checksum_is_verified(site, tmp_path):
    digest = hashlib.sha256(site.content).hexdigest()
    fetched = fetch("busi", tmp_path / "busi", url=site.url, sha256=digest.upper())
    assert fetched.verified
    assert "as expected" in fetched.summary


def test_wrong_checksum_removes_the_file(site, tmp_path):
    with pytest.raises(DataError, match=r"sha256 is .* not 0{64} as expected; the file was removed"):
        fetch("busi", tmp_path / "busi", url=site.url, sha256="0" * 64)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("etag", "modified"),
    [('"v1"', None), ('W/"v1"', "Wed, 21 Oct 2015 07:28:00 GMT"), (None, None)],
    ids=["etag", "date", "length"],
)
def test_resume_after_a_cut_asks_for_the_rest_alone(site, tmp_path, etag, modified):
    site.etag, site.modified = etag, modified
    cut_once(site, tmp_path / "busi", 20_000)
    fetched = fetch("busi", tmp_path / "busi", url=site.url)
    assert [request["Range"] for request in site.requests] == ["bytes=20000-"]
    assert site.requests[0].get("If-Range") == ('"v1"' if etag == '"v1"' else modified)
    assert fetched.sha256 == hashlib.sha256(site.content).hexdigest()
    assert len(tree(tmp_path)) == 3


def test_changed_file_is_fetched_anew(site, tmp_path):
    cut_once(site, tmp_path / "busi", 20_000)
    site.content, site.etag = zipped({"top/a.png": b"new" * 20_000}), '"v2"'
    fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path / "busi") == {"a.png": b"new" * 20_000}


def test_changed_length_without_validator_is_fetched_anew(site, tmp_path):
    site.etag = None
    cut_once(site, tmp_path / "busi", 20_000)
    site.content = zipped({"top/a.png": b"new" * 20_000})
    fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path / "busi") == {"a.png": b"new" * 20_000}
    assert "Range" not in site.requests[-1]


def test_server_without_ranges_starts_again(site, tmp_path):
    site.ranges = False
    cut_once(site, tmp_path / "busi", 20_000)
    fetched = fetch("busi", tmp_path / "busi", url=site.url)
    assert fetched.sha256 == hashlib.sha256(site.content).hexdigest()


def test_answer_that_starts_elsewhere_is_not_appended(site, tmp_path):
    cut_once(site, tmp_path / "busi", 20_000)
    site.wrong_range = True
    fetched = fetch("busi", tmp_path / "busi", url=site.url)
    assert fetched.sha256 == hashlib.sha256(site.content).hexdigest()
    assert len(site.requests) == 2


def test_part_longer_than_the_file_is_fetched_anew(site, tmp_path):
    cut_once(site, tmp_path / "busi", 20_000)
    part = next(tmp_path.glob("*.part"))
    part.write_bytes(b"y" * 100_000)
    fetched = fetch("busi", tmp_path / "busi", url=site.url)
    assert fetched.sha256 == hashlib.sha256(site.content).hexdigest()


def test_part_of_another_address_or_with_broken_notes_is_not_continued(site, tmp_path):
    cut_once(site, tmp_path / "busi", 20_000)
    next(tmp_path.glob("*.part.json")).write_text("{broken")
    fetch("busi", tmp_path / "busi", url=site.url)
    assert ["Range" in request for request in site.requests] == [False]


def test_unknown_length_is_accepted(site, tmp_path):
    site.announce = False
    assert fetch("busi", tmp_path / "busi", url=site.url).files == 3


@pytest.mark.parametrize("status", [404, 403, 500])
def test_server_errors_are_one_line(site, tmp_path, status):
    site.status = status
    with pytest.raises(DataError, match=f"the server answers {status}") as caught:
        fetch("busi", tmp_path / "busi", url=site.url)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_host(tmp_path):
    with pytest.raises(DataError, match=r"cannot fetch .*refused"):
        fetch("busi", tmp_path / "busi", url="http://127.0.0.1:1/x.zip")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x.zip", "busi.zip", "http:///x"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(DataError, match="starts with http"):
        fetch("busi", tmp_path / "busi", url=url)


def test_arguments_are_checked_before_anything_is_fetched(tmp_path, site):
    with pytest.raises(DataError, match="unknown data set 'bussi'; did you mean 'busi'"):
        fetch("bussi", tmp_path / "busi", url=site.url)
    with pytest.raises(DataError, match="exists already"):
        fetch("busi", tmp_path, url=site.url)
    with pytest.raises(DataError, match="not a checksum"):
        fetch("busi", tmp_path / "busi", url=site.url, sha256="abc")
    assert site.requests == []


def test_registry_is_honest_about_its_checksums():
    assert DATASETS["busi"].url == "https://scholar.cu.edu.eg/Dataset_BUSI.zip"
    assert DATASETS["busi"].sha256 is None


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_folder_are_refused(site, tmp_path, name, kind):
    site.content = (
        zipped({"a.txt": b"a", name: b"evil"}) if kind == "zip" else tarred([entry("a"), entry(name)])
    )
    with pytest.raises(DataError, match="outside the folder"):
        fetch("busi", tmp_path / "inner" / "busi", url=site.url)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "a"), (tarfile.FIFOTYPE, ""), (tarfile.CHRTYPE, "")],
)
def test_links_and_devices_in_tar_are_refused(site, tmp_path, kind, target):
    site.content = tarred([entry("a"), entry("b", b"", type=kind, linkname=target), entry("b/c")])
    with pytest.raises(DataError, match="'b' is a link or a device"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path) == {}


def test_symlink_in_zip_is_refused(site, tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc")
    site.content = buffer.getvalue()
    with pytest.raises(DataError, match="'link' is a link"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_tar_archives_unpack(site, tmp_path, mode):
    folder = entry("top", b"", type=tarfile.DIRTYPE)
    site.content = tarred([folder, entry("top/a/1.png", b"one"), entry("top/b/2.png", b"two")], mode)
    assert fetch("busi", tmp_path / "busi", url=site.url).files == 2
    assert tree(tmp_path) == {"busi/a/1.png": b"one", "busi/b/2.png": b"two"}


def test_outer_folder_is_dropped_even_when_a_child_has_its_name(site, tmp_path):
    site.content = zipped({"busi/busi/1.png": b"1", "__MACOSX/busi/._1.png": b"m", "busi/.DS_Store": b"d"})
    fetch("busi", tmp_path / "data", url=site.url)
    assert tree(tmp_path / "data") == {"busi/1.png": b"1"}


def test_several_top_folders_stay(site, tmp_path):
    site.content = zipped({"benign/1.png": b"1", "normal/1.png": b"2"})
    fetch("busi", tmp_path / "data", url=site.url)
    assert tree(tmp_path / "data") == {"benign/1.png": b"1", "normal/1.png": b"2"}


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.bin", bytes(400_000))
    return buffer.getvalue()


def test_bomb_is_refused(site, tmp_path, monkeypatch):
    small = module.Dataset("http://unused", "small", max_bytes=1_000_000)
    monkeypatch.setattr(module, "DATASETS", {"busi": small})
    site.content = bomb()
    with pytest.raises(DataError, match="unpacks to more than"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"<html>not here</html>",
        b"PK but not a zip",
        zipped(FILES)[:-30],
        tarred([entry("a", bytes(50_000))])[:-20],
        zipped({}),
        tarred([entry("a"), entry("a/b")]),
        tarred([entry("a"), entry("a")]),
    ],
    ids=["html", "pk", "cut zip", "cut tar", "empty", "file as folder", "twice"],
)
def test_damaged_archives_are_refused_and_removed(site, tmp_path, content):
    site.content = content
    with pytest.raises(DataError) as caught:
        fetch("busi", tmp_path / "busi", url=site.url)
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == {}


def test_flipped_byte_inside_a_member_is_noticed(site, tmp_path):
    place = site.content.index(b"imageimage") + 5000
    site.content = site.content[:place] + b"X" + site.content[place + 1 :]
    with pytest.raises(DataError, match="CRC"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert tree(tmp_path) == {}


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to write files beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_while_downloading_goes_on_later(site, tmp_path):
    with largest_file(10_000), pytest.raises(DataError, match=r"cannot write .*free some space"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert not (tmp_path / "busi").exists()
    site.requests.clear()
    fetch("busi", tmp_path / "busi", url=site.url)
    assert [request["Range"] for request in site.requests] == ["bytes=10000-"]


def test_full_disk_while_unpacking_keeps_the_archive(site, tmp_path):
    site.content = bomb()
    with largest_file(100_000), pytest.raises(DataError, match=r"cannot write .*free some space"):
        fetch("busi", tmp_path / "busi", url=site.url)
    assert [path.name for path in tmp_path.iterdir()] == ["busi-Dataset_BUSI.zip"]
    site.requests.clear()
    assert fetch("busi", tmp_path / "busi", url=site.url).files == 3
    assert site.requests == []
