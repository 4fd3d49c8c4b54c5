"""Drawing with matplotlib and turning the drawing into SVG that lives inside a page.

Colours are CSS variables, so that one drawing serves light mode, dark mode and paper; text stays text.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

INK, MUTED, GRID = "#010101", "#020202", "#030303"
SERIES = ("#010201", "#010202", "#010203", "#010204", "#010205", "#010206")
"""Colours to draw with; each is a stand-in that becomes a CSS variable of the page."""

DASHES = ("solid", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (1, 3)))
"""Line styles that go with `SERIES`, so that no line is told by its colour alone."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    **{colour: f"var(--series-{position})" for position, colour in enumerate(SERIES, start=1)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "meddistill",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
}
WIDTH, NARROW = 4.3, 3.3
"""Widths of drawings in inches, for two and for three in a row: 9 point text stays legible 350 px wide."""


@dataclass(frozen=True)
class Picture:
    """One drawing of the page.

    Args:
        title: heading above it.
        alt: what the drawing shows, in words, for those who do not see it.
        svg: the drawing as an SVG element that names `alt`.
    """

    title: str
    alt: str
    svg: Markup


class Drawing:
    """A matplotlib figure that becomes a `Picture`; `figure` is the `matplotlib.figure.Figure`."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self._source = ""

    def axes(self, **options: Any) -> Any:
        """One pair of axes that fills the drawing; `options` go to `Figure.add_subplot`."""
        return self.figure.add_subplot(**options)

    def close(self) -> None:
        """Write the figure as SVG text while the style is in force."""
        self.figure.draw_without_rendering()  # the layout of this first pass decides the ticks of the second
        stream = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
        self._source = stream.getvalue().decode("utf-8")

    def picture(self, title: str, alt: str) -> Picture:
        """The finished drawing; call it after the `drawing` block has ended."""
        return Picture(title, alt, inline_svg(self._source, alt))


@contextmanager
def drawing(height: float = 2.7, width: float = WIDTH) -> Iterator[Drawing]:
    """A drawing of `width` x `height` inches in the style of the report.

    The style is in force inside the block only, whatever the user's own settings; pyplot is not used.

    Example:
        >>> with drawing() as canvas:
        ...     _ = canvas.axes().plot([1, 2, 3], color=SERIES[0])
        >>> picture = canvas.picture("A line", "It rises from 1 to 3.")
        >>> 'aria-label="It rises from 1 to 3."' in picture.svg, "http" in picture.svg
        (True, False)
    """
    import matplotlib
    from matplotlib.figure import Figure

    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context({**defaults, **_STYLE}):
        canvas = Drawing(Figure(figsize=(width, height), layout="constrained"))
        yield canvas
        canvas.close()


def inline_svg(source: str, alt: str) -> Markup:
    """The `<svg>` element of a matplotlib SVG file, fit to stand in an HTML page with others of its kind.

    Prologue, metadata, style sheet, name spaces and fixed size go; ids are kept only where something refers
    to them and made unique by the drawing's content; colours and fonts are left to the page.
    """
    body = source[source.index("<svg") :]
    view = re.search(r'viewBox="([^"]+)"', body)
    body = re.sub(r"<(style|metadata)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r"^<svg[^>]*>", "", body).replace("xlink:href", "href")
    body = re.sub(r"\s*font-family: [^;\"]+;?", "", body)
    body = re.sub(r"\s*\n\s*", " ", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = _unique_ids(body, "d" + hashlib.sha256((alt + source).encode()).hexdigest()[:8])
    opening = (
        f'<svg class="drawing" role="img" aria-label="{escape(alt)}" viewBox="{view[1] if view else ""}">'
    )
    return Markup(opening + body)


def _unique_ids(body: str, prefix: str) -> str:
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", body)
