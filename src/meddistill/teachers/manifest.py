"""What a teacher store was made from, and in which words two stores differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from meddistill import __version__
from meddistill.errors import TeacherError
from meddistill.teachers.encoding import Encoding, EncodingName, choose_encoding
from meddistill.teachers.layout import Layout, choose_layout

FORMAT = 1
"""Version of the files of a store; stores of other versions are refused."""


@dataclass(frozen=True)
class Views:
    """Augmented views of each case, for a store that replays them.

    Args:
        augment: name of the augmentation.
        count: views of each case.
        seed: draws the views.
        versions: of the libraries whose random numbers decide them.
    """

    augment: str
    count: int
    seed: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """Everything that the content of a store depends on.

    Args:
        teacher: name of the teacher.
        weights: hash of what it computes with, see `fingerprint` of a teacher.
        preprocessing: hash of what it does to an image before.
        classes: name of each class, or its number.
        size: spatial size of the images and of the logits; empty for one set of logits an image.
        channels: channels of the images.
        interpolation: how the images were resized.
        cases: id and hash of the decoded image of each case, in the order of the rows.
        encoding: `float16` or `uint8`.
        top_k: classes kept of each pixel, None for the default.
        batch_size: cases that the teacher sees together; its last bits can depend on that.
        views: the augmented views, or None when the images are as they are.
        independent: the classes are labels that do not exclude each other.
        code: version of meddistill.
        version: of the files.
    """

    teacher: str
    weights: str
    preprocessing: str
    classes: tuple[str, ...]
    size: tuple[int, ...]
    channels: int
    interpolation: str
    cases: tuple[tuple[str, str], ...]
    encoding: EncodingName = "float16"
    top_k: int | None = None
    batch_size: int = 8
    views: Views | None = None
    independent: bool = False
    code: str = __version__
    version: int = FORMAT

    @property
    def rows(self) -> int:
        """Rows of the store: views of one case lie beside each other."""
        return len(self.cases) * self.views_per_case

    @property
    def views_per_case(self) -> int:
        """1 unless the store replays augmented views."""
        return self.views.count if self.views else 1

    @property
    def layout(self) -> Layout:
        """Which numbers are stored."""
        return choose_layout(len(self.classes), self.top_k, independent=self.independent)

    @property
    def codes(self) -> Encoding:
        """How precisely they are stored."""
        return choose_encoding(self.encoding, self.layout.growth)

    @property
    def key(self) -> str:
        """16 hexadecimal digits that stand for everything above."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; `independent` only where it is true, so that other keys do not change."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if not self.independent:
            del value["independent"]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any], origin: Path) -> Manifest:
        """The manifest that `to_json` described.

        Raises:
            TeacherError: it is something else, or of another version.
        """
        if isinstance(value, Mapping) and value.get("version") != FORMAT:
            raise TeacherError(
                f"teacher store {origin} has version {value.get('version')} and this meddistill reads "
                f"version {FORMAT}; delete it and annotate again"
            )
        try:
            known = {"independent": False, **value}
            given = {field.name: known[field.name] for field in fields(cls)}
            given["cases"] = tuple((str(case), str(digest)) for case, digest in given["cases"])
            given["classes"], given["size"] = tuple(given["classes"]), tuple(given["size"])
            given["views"] = Views(**given["views"]) if given["views"] else None
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise TeacherError(
                f"teacher store {origin} has a damaged manifest.json; delete the folder and annotate again"
            ) from error


def check_same(found: Manifest, wanted: Manifest, origin: Path) -> None:
    """Refuse a store that was made from something else, and say from what.

    Cases that are only in the store do not matter, nor does the order of the cases.

    Raises:
        TeacherError: a part differs.
    """
    problems = list(differences(found, wanted))
    if problems:
        raise TeacherError(
            f"teacher store {origin} does not fit: {'; '.join(problems)}; "
            "annotate into another folder, or delete this one"
        )


def differences(found: Manifest, wanted: Manifest) -> Iterator[str]:
    """What differs between a store and what it is wanted for, in words, the weightiest first."""
    if found.weights != wanted.weights:
        yield f"it holds the outputs of other teacher weights ({_of(found.teacher)} then)"
    if found.preprocessing != wanted.preprocessing:
        yield "the teacher's preprocessing has changed (normalisation, size, classes or precision)"
    for name, what in _PARTS.items():
        then, now = getattr(found, name), getattr(wanted, name)
        if then != now:
            yield f"{what} changed from {_shown(then)} to {_shown(now)}"
    yield from _case_differences(dict(found.cases), dict(wanted.cases))


_PARTS = {
    "size": "the images' size",
    "channels": "the images' channels",
    "interpolation": "the images' interpolation",
    "classes": "the classes",
    "independent": "whether labels exclude each other",
    "views": "the augmented views",
    "encoding": "the encoding",
    "top_k": "top_k",
    "code": "the version of meddistill",
}


def _case_differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    missing = [case for case in wanted if case not in found]
    changed = [case for case in wanted if case in found and found[case] != wanted[case]]
    if missing:
        yield f"the data have {_count(missing)} that it lacks, first {missing[0]}"
    if changed:
        yield f"the images of {_count(changed)} have changed, first {changed[0]}"


def _count(cases: list[str]) -> str:
    return f"{len(cases)} case{'s' if len(cases) > 1 else ''}"


def _of(teacher: str) -> str:
    return f"those of {teacher!r}"


def _shown(value: Any) -> str:
    if isinstance(value, Views):
        return f"{value.count} views of {value.augment!r} with seed {value.seed} ({dict(value.versions)})"
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value)) or "none"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
