"""Take the pictures of docs/study-page.md: python -m tests.report.screenshots PAGE STEM."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import Tab, browser

COLOURS = 200
"""Colours of a picture, so that it stays small."""

TALL = 8000
"""Height of the window: what lies outside it may not be drawn yet."""

VIEWS = {
    "desktop": (1280, "header", 1500, 0.75),
    "details": (1280, "#ranks", 2500, 0.6),
    "phone": (390, "header", 1700, 1.0),
    "phone-details": (390, "#disputes", 1700, 1.0),
}
"""Width of the window, where the picture begins, its height, and its scale."""


def shoot(page: Path, stem: Path) -> None:
    """Write `stem`-NAME.png for every view of `page`."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        for name, (width, start, height, scale) in VIEWS.items():
            tab.open(page, width, TALL)
            file = stem.with_name(f"{stem.name}-{name}.png")
            _reduced(_picture(tab, start, width, height), scale).save(file, optimize=True)
            print(f"{file}: {file.stat().st_size // 1024} KB")


def _picture(tab: Tab, start: str, width: int, height: int) -> Image.Image:
    top = tab.value(f"document.querySelector('{start}').getBoundingClientRect().top + scrollY")
    whole = tab.value("document.documentElement.scrollHeight")
    return Image.open(io.BytesIO(tab.screenshot(top, width, min(height, whole - top)))).convert("RGB")


def _reduced(picture: Image.Image, scale: float) -> Image.Image:
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS).quantize(COLOURS, method=Image.Quantize.FASTOCTREE)


if __name__ == "__main__":
    shoot(Path(sys.argv[1]), Path(sys.argv[2]))
