"""A page opened in headless Chromium through its DevTools port, for tests that need a real browser."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
"""What the browser may be called."""

PATIENCE = 120
"""Seconds to wait for the browser on a busy machine."""


def program() -> str | None:
    """The browser: what `MEDDISTILL_CHROMIUM` names, or the first that is on the path; None without any."""
    return os.environ.get("MEDDISTILL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    program() is None, reason="no Chromium here: install one, or name it in MEDDISTILL_CHROMIUM"
)


class Tab:
    """The one tab of a browser: JSON messages over a web socket, without any package.

    `trouble` collects what pages write to the console as errors or warnings, and exceptions.
    """

    def __init__(self, address: str) -> None:
        host, port, path = re.match(r"ws://([^:/]+):(\d+)(/.*)", address).groups()
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        assert b"101" in self._stream.readline()
        while self._stream.readline().strip():
            pass
        self._count = 0
        self.trouble: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._count += 1
        self._write(json.dumps({"id": self._count, "method": method, "params": params}).encode())
        return self._wait(lambda message: message.get("id") == self._count)["result"]

    def open(self, page: Path, width: int, height: int = 900) -> None:
        """Show a file in a window of `width` x `height` CSS pixels and wait until it is loaded."""
        self.trouble.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._count += 1
        params = {"url": page.resolve().as_uri()}
        self._write(json.dumps({"id": self._count, "method": "Page.navigate", "params": params}).encode())
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, for example ("Tab", 9)."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
            )

    def screenshot(self, top: float, width: float, height: float) -> bytes:
        """A part of the page as PNG; the numbers are CSS pixels."""
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        found = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def _wait(self, wanted: Any) -> dict[str, Any]:
        while True:
            message = json.loads(self._read())
            self._note(message)
            if wanted(message):
                return message

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.trouble.append(params["entry"]["text"])
        if method == "Runtime.exceptionThrown":
            self.trouble.append(str(params["exceptionDetails"]["text"]))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.trouble.append(str(params["args"]))

    def _write(self, text: bytes) -> None:
        """One masked text frame."""
        length = len(text)
        head = struct.pack("!BB", 0x81, 0x80 | (length if length < 126 else 126))
        head += struct.pack("!H", length) if length >= 126 else b""
        assert length < 2**16
        mask = os.urandom(4)
        self._socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text)))

    def _read(self) -> bytes:
        """The payload of one message, which may come in several frames."""
        parts, final = [], False
        while not final:
            first, second = self._stream.read(2)
            length = second & 0x7F
            if length > 125:
                size = 2 if length == 126 else 8
                length = int.from_bytes(self._stream.read(size), "big")
            final = bool(first & 0x80)
            parts.append(self._stream.read(length))
        return b"".join(parts)


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Start the browser with an empty profile and yield its tab; the browser ends with the block."""
    command = [
        str(program()),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Tab(_address(profile / "DevToolsActivePort"))
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _address(file: Path) -> str:
    """Where the tab listens, once the browser has written its port."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) > 1:
            with urlopen(f"http://127.0.0.1:{lines[0]}/json", timeout=PATIENCE) as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise TimeoutError(f"Chromium did not open within {PATIENCE} s")
