"""How far stored outputs are from those of the live teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.seeding import mixed_seed
from meddistill.data.transforms import PRESETS, Augmentation, JointTransform, Sample
from meddistill.teachers.annotate import Images, Network
from meddistill.teachers.store import TeacherStore

NOTABLE = 0.03
"""Mean |dp| under a geometric change above which `replay` is recommended."""

CASES = 8
"""Cases that are compared unless told otherwise, spread over the store."""


@dataclass(frozen=True)
class Difference:
    """|p stored - p live| over the classes and the pixels inside the frame.

    Args:
        change: what was done to the image: `none`, a geometric change, or `views` for replayed ones.
        largest: the largest difference.
        mean: the mean difference.
        cases: rows behind these.
    """

    change: str
    largest: float
    mean: float
    cases: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_with_live(
    store: TeacherStore,
    teacher: Network,
    images: Images,
    rows: Sequence[int],
    *,
    augment: str = "none",
    cases: int = CASES,
) -> list[Difference]:
    """Compare a complete store with its teacher, at temperature 1.

    Without augmentation the difference is that of the encoding alone. Under a geometric change the stored
    map is changed along with the image, while the live teacher looks at the changed image: interpolation,
    borders, and whatever the teacher sees otherwise in a changed image come on top.

    Args:
        store: complete.
        teacher: the one that wrote it.
        images: images by number.
        rows: for each number the row of the store that belongs to it.
        augment: the augmentation whose geometric changes are tried one by one.
        cases: how many cases to compare.
    """
    chosen = [(images([number])[0], rows[number]) for number in _spread(len(rows), cases)]
    probabilities = _sigmoid if store.manifest.independent else _softmax
    if store.manifest.views is not None:
        return [_difference("views", _as_they_are(store, teacher, chosen), probabilities)]
    changes = geometric_changes(PRESETS[augment])
    return [
        _difference("none", _as_they_are(store, teacher, chosen), probabilities),
        *(
            _difference(name, _changed(change, store, teacher, chosen), probabilities)
            for name, change in changes.items()
        ),
    ]


def geometric_changes(augmentation: Augmentation) -> Mapping[str, Augmentation]:
    """Each geometric change of an augmentation on its own, always done.

    Example:
        >>> list(geometric_changes(PRESETS["medium"]))
        ['flip', 'rotate', 'zoom', 'shear']
    """
    alone = {
        "flip": Augmentation(flip=1.0),
        "quarter turns": Augmentation(quarter_turns=1.0),
        "rotate": Augmentation(rotate=augmentation.rotate),
        "zoom": Augmentation(zoom=augmentation.zoom),
        "shear": Augmentation(shear=augmentation.shear),
    }
    return {name: change for name, change in alone.items() if getattr(augmentation, name.replace(" ", "_"))}


def advice(found: Sequence[Difference]) -> str:
    """What to do where the teacher itself answers otherwise for a changed image; empty where it hardly does.

    Example:
        >>> advice([Difference("none", 0.0001, 0.0, 8), Difference("flip", 0.8, 0.06, 8)])
        'under flip the teacher itself answers otherwise (mean |dp| 0.060): try --teacher.mode replay'
    """
    worst = max(found, key=lambda row: row.mean)
    if worst.mean <= NOTABLE:
        return ""
    return (
        f"under {worst.change} the teacher itself answers otherwise (mean |dp| {worst.mean:.3f}): "
        "try --teacher.mode replay"
    )


def differences_table(found: Sequence[Difference], *, size: int, rows: int) -> str:
    """The differences and the size of the store for a terminal.

    Example:
        >>> print(differences_table([Difference("flip", 0.12, 0.003, 8)], size=2048, rows=4))
        store: 0.0 MB, 0.5 KB a row
        stored against live, |dp|    largest    mean   largest x 255
          flip                        0.1200  0.0030    30.60
    """
    lines = [
        f"store: {size / 2**20:.1f} MB, {size / 2**10 / max(rows, 1):.1f} KB a row",
        f"{'stored against live, |dp|':<28} largest    mean   largest x 255",
    ]
    lines += [
        f"  {row.change:<26}{row.largest:>8.4f}{row.mean:>8.4f}{row.largest * 255:>9.2f}" for row in found
    ]
    return "\n".join(lines)


Outputs = Iterator[tuple[Tensor, Tensor]]
"""Stored and live logits of some pixels, (K, N) each."""


Chosen = Sequence[tuple[Tensor, int]]
"""Some images (C, *S) and their rows in the store."""


def _as_they_are(store: TeacherStore, teacher: Network, chosen: Chosen) -> Outputs:
    for image, row in chosen:
        live = teacher(image[None]).cpu()
        yield _by_pixel(store.read([row])[0]), _by_pixel(live[0])


def _changed(change: Augmentation, store: TeacherStore, teacher: Network, chosen: Chosen) -> Outputs:
    for image, row in chosen:
        label = torch.zeros(store.manifest.size, dtype=torch.long)
        sample = Sample(image=image, label=label, teacher_logits=store.read([row])[0])
        seen = JointTransform(change, dims=image.ndim - 1)(sample, mixed_seed(row))
        inside = (seen["label"] != IGNORE_INDEX).flatten()
        live = teacher(seen["image"][None]).cpu()
        yield _by_pixel(seen["teacher_logits"])[:, inside], _by_pixel(live[0])[:, inside]


def _by_pixel(logits: Tensor) -> Tensor:
    """Logits (K, *S) as (K, N); those of a whole image have a single column."""
    return logits.reshape(len(logits), -1)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=0)


def _sigmoid(logits: Tensor) -> Tensor:
    return logits.sigmoid()


def _difference(change: str, outputs: Outputs, probabilities: Callable[[Tensor], Tensor]) -> Difference:
    largest, total, numbers, cases = 0.0, 0.0, 0, 0
    for stored, live in outputs:
        distance = (probabilities(stored) - probabilities(live)).abs()
        largest = max([largest, *distance.flatten(1).amax(dim=1).tolist()]) if distance.numel() else largest
        total += float(distance.sum(dtype=torch.float64))
        numbers += distance.numel()
        cases += 1
    return Difference(change, largest, total / max(numbers, 1), cases)


def _spread(rows: int, count: int) -> list[int]:
    """`count` rows at equal distances, or all."""
    count = min(rows, count)
    return [rows * number // count for number in range(count)]
