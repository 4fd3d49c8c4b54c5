"""Tables that concern volumes: their spacing and orientation, and slices without foreground."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from meddistill.data._inspect_cases import CaseFacts
from meddistill.data._inspect_types import Row, Table
from meddistill.data.case import Source
from meddistill.data.sources.slices import SliceSource
from meddistill.data.sources.volume import VolumeSource
from meddistill.data.volumes.geometry import Geometry
from meddistill.errors import DataError

_AXES = ("between slices", "between rows", "between columns")


def volume_tables(source: Source, facts: Sequence[CaseFacts]) -> Iterator[Table]:
    """Spacing and empty slices of the volumes; nothing for other sources."""
    volumes = source.volumes if isinstance(source, SliceSource) else source
    if not isinstance(volumes, VolumeSource):
        return
    grids = list(_grids(volumes))
    if grids:
        yield _spacing(grids)
    slices = [one.label.slices for one in facts if one.label is not None and one.label.known]
    if any(count for count, _ in slices):
        yield _empty_slices(slices)


def _grids(volumes: VolumeSource) -> Iterator[Geometry]:
    """Of the volumes whose headers can be read; the others are reported as unreadable."""
    for case in volumes.cases:
        try:
            yield volumes.geometry(case)
        except DataError:
            continue


def _spacing(grids: Sequence[Geometry]) -> Table:
    known = [grid.spacing for grid in grids if grid.spacing is not None]
    counts = Counter(grid.orientation for grid in grids).most_common()
    turned = ", ".join(f"{name} {count}" for name, count in counts)
    title = f"Voxel spacing (known for {len(known)} of {len(grids)} volumes; x, y, z run to {turned})"
    rows: list[Row] = [
        (name, float(min(lengths)), float(median(lengths)), float(max(lengths)))
        for name, lengths in zip(_AXES, zip(*known, strict=True), strict=False)
    ]
    if not rows:
        return Table(title, ("mm",), (("not known: distances are in voxels",),))
    return Table(title, ("mm", "min", "median", "max"), tuple(rows))


def _empty_slices(slices: Sequence[tuple[int, int]]) -> Table:
    total, empty = (sum(numbers) for numbers in zip(*slices, strict=True))
    most = max(bare for _, bare in slices)
    title = f"Slices without foreground (at most {most} in one volume)"
    return Table(title, ("slices", "empty", "share"), ((total, empty, f"{empty / total:.1%}"),))
