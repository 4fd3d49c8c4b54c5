"""Pictures of cases: the image, the contours of truth, teacher and student, and where the student is unsure.

The image is stored once a case, as PNG; contours are vector paths, so that they stay sharp at any size.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from meddistill.report.numbers import score
from meddistill.report.reading import Gallery

LARGEST_SIDE = 320
"""Images are shown at most this many pixels wide or high; contours keep the full resolution."""

OPACITY = 0.7
"""Opacity of the highest uncertainty; the image still shows through."""

CLASS_COLOURS = 6
"""Number of colours for classes; more classes than that share them."""

RAMP = ((150, 70, 210), (215, 55, 175), (255, 60, 140))
"""Colours of low to high uncertainty, drawn with rising opacity; darker than any contour."""


@dataclass(frozen=True)
class Panel:
    """One picture of a case: its short `name`, what it shows in words, and the SVG."""

    name: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class CaseView:
    """All pictures of one case."""

    case: str
    kind: str
    dice: float
    panels: tuple[Panel, ...]


def contour_path(mask: npt.NDArray[np.bool_]) -> str:
    """SVG path data round the True pixels of `mask` (H, W); pixel (i, j) covers x in j..j+1, y in i..i+1.

    Example:
        >>> contour_path(np.zeros((2, 2), dtype=bool))
        ''
        >>> contour_path(np.array([[False, False], [False, True]]))
        'M1,1.5L1.5,1L2,1.5L1.5,2Z'
    """
    from contourpy import contour_generator

    if not mask.any():
        return ""
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    return "".join(_path(np.asarray(line) - 0.5) for line in lines)


def case_views(gallery: Gallery, class_names: Sequence[str] = (), prefix: str = "") -> tuple[CaseView, ...]:
    """The panels of every case of a gallery, in its order.

    Args:
        gallery: the cases.
        class_names: names of the label values, for the words; numbers are used where it is too short.
        prefix: begins the ids of a second gallery on the same page.
    """
    return tuple(
        _case_view(gallery, position, class_names, f"{prefix}case{position}")
        for position in range(len(gallery.cases))
    )


def class_colour(value: int) -> str:
    """CSS class that colours the contours of a label value from 1 on, where a gallery has several classes.

    Example:
        >>> class_colour(1), class_colour(7)
        ('class-1', 'class-1')
    """
    return f"class-{(value - 1) % CLASS_COLOURS + 1}"


def legend(gallery: Gallery, class_names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(CSS classes, words) of the lines in the panels: by source, or by class where there are several."""
    if not _many_classes(gallery):
        sources = ("truth", "teacher", "student") if gallery.teachers is not None else ("truth", "student")
        return [(f"line {source}", source.capitalize()) for source in sources]
    values = [int(value) for value in np.unique(gallery.labels) if value > 0]
    lines = [(f"line {class_colour(value)}", _class_name(value, class_names)) for value in values]
    return [*lines, ("line truth", "Dashed: truth")]


def _many_classes(gallery: Gallery) -> bool:
    return bool(gallery.labels.max(initial=0) > 1 or gallery.students.max(initial=0) > 1)


def _class_name(value: int, class_names: Sequence[str]) -> str:
    return class_names[value] if value < len(class_names) else f"class {value}"


def png_address(image: npt.NDArray[np.uint8]) -> str:
    """A grey (H, W) or RGB (H, W, 3) image as a `data:` address holding a PNG.

    Example:
        >>> png_address(np.zeros((4, 4), dtype=np.uint8))[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return _address(picture)


def uncertainty_address(uncertainty: npt.NDArray[np.uint8]) -> str:
    """An uncertainty map (H, W) as a `data:` address of a PNG: clear where sure, coloured where unsure."""
    from PIL import Image

    levels = 32
    stops = np.linspace(0, 1, len(RAMP))
    place = np.linspace(0, 1, levels)
    palette = np.stack([np.interp(place, stops, channel) for channel in zip(*RAMP, strict=True)], axis=1)
    picture = Image.fromarray(uncertainty // (256 // levels))
    picture.putpalette(palette.round().astype(np.uint8).tobytes())
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.NEAREST)
    return _address(picture, transparency=(place * OPACITY * 255).astype(np.uint8).tobytes())


def _address(picture: Any, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _path(line: npt.NDArray[np.float64]) -> str:
    points = line[:-1] if np.array_equal(line[0], line[-1]) else line
    arriving, leaving = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turn = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    corners = points[np.abs(turn) > 1e-9]
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in corners) + "Z" if len(corners) else ""


def _case_view(gallery: Gallery, position: int, class_names: Sequence[str], key: str) -> CaseView:
    maps = {"truth": gallery.labels[position]}
    if gallery.teachers is not None:
        maps["teacher"] = gallery.teachers[position]
    maps["student"] = gallery.students[position]
    case = gallery.cases[position]
    by_class = _many_classes(gallery)
    panels = [image_panel(gallery.images[position], maps, case, key, by_class=by_class)]
    panels += [contour_panel(who, maps, case, key, class_names) for who in maps]
    if gallery.uncertainty is not None:
        panels.append(_uncertainty_panel(gallery.uncertainty[position], case, key))
    return CaseView(case, gallery.kinds[position], float(gallery.dice[position]), tuple(panels))


def image_panel(
    image: npt.NDArray[np.uint8],
    maps: Mapping[str, npt.NDArray[Any]],
    case: str,
    key: str,
    *,
    by_class: bool = False,
) -> Panel:
    """The plain image; it also defines the image and the contours that the other panels of the case use.

    Args:
        image: (C, H, W).
        maps: label maps (H, W) by a name that is fit for an id; `truth` is one of them.
        case: id of the case.
        key: begins the ids of this case.
        by_class: colour contours by class, and not by whose they are.
    """
    pixels = np.moveaxis(image, 0, -1) if image.shape[0] == 3 else image[0]
    height, width = pixels.shape[:2]
    colouring = ' class="by-class"' if by_class else ""
    paths = "".join(f'<g id="{key}-{who}"{colouring}>{_class_paths(part)}</g>' for who, part in maps.items())
    picture = f'<image id="{key}-image" href="{png_address(pixels)}" width="{width}" height="{height}"/>'
    alt = f"Image of case {case}."
    return Panel("Image", alt, _svg((height, width), alt, f"<defs>{paths}</defs>{picture}"))


def _class_paths(label_map: npt.NDArray[Any]) -> str:
    return "".join(
        f'<path class="{class_colour(value)}" vector-effect="non-scaling-stroke" '
        f'd="{contour_path(label_map == value)}"/>'
        for value in np.unique(label_map[label_map > 0])
    )


def contour_panel(
    who: str,
    maps: Mapping[str, npt.NDArray[Any]],
    case: str,
    key: str,
    class_names: Sequence[str],
    *,
    title: str = "",
    style: str = "",
) -> Panel:
    """The image with the contours of the truth and of the map `who`.

    Args:
        who: a name among `maps`.
        maps: those that `image_panel` got.
        case: id of the case.
        key: begins the ids of this case.
        class_names: names of the label values, for the words.
        title: what to call the map; `who` by default.
        style: CSS class of its line; `who` by default.
    """
    title = title or who.capitalize()
    empty = not (maps[who] > 0).any()
    layers = [_layer(key, "image")]
    for name in dict.fromkeys(("truth", who)):
        layers += [
            _layer(key, name, "halo"),
            _layer(key, name, "line", (style or who) if name == who else name),
        ]
    words = "marks nothing" if empty else f"marks {_areas(maps[who], class_names)}"
    alt = f"{title} of case {case} {words}."
    return Panel(f"{title}{' (empty)' if empty else ''}", alt, _svg(maps[who].shape, alt, "".join(layers)))


def _uncertainty_panel(uncertainty: npt.NDArray[np.uint8], case: str, key: str) -> Panel:
    height, width = uncertainty.shape
    heat = f'<image href="{uncertainty_address(uncertainty)}" width="{width}" height="{height}"/>'
    edge = _layer(key, "student", "halo", "thin") + _layer(key, "student", "line", "student", "thin")
    share = score(float((uncertainty > 127).mean()), "dice")
    alt = (
        f"Uncertainty of the student in case {case}; the share of pixels above half of the scale is {share}."
    )
    return Panel("Uncertainty", alt, _svg((height, width), alt, _layer(key, "image") + heat + edge))


def _areas(label_map: npt.NDArray[Any], class_names: Sequence[str]) -> str:
    values, counts = np.unique(label_map[label_map > 0], return_counts=True)
    parts = zip(values, counts, strict=True)
    return ", ".join(f"{count} pixels of {_class_name(value, class_names)}" for value, count in parts)


def _layer(key: str, name: str, *classes: str) -> str:
    return f'<use href="#{key}-{name}" class="{" ".join(classes)}"/>'


def _svg(shape: tuple[int, ...], alt: str, content: str) -> Markup:
    height, width = shape
    opening = f'<svg class="panel" role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}">'
    return Markup(f"{opening}{content}</svg>")
