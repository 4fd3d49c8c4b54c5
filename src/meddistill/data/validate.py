"""Checks that need no decoding, made before any training starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from meddistill.data.case import Case, Source
from meddistill.data.images import original_size
from meddistill.errors import DataError


@runtime_checkable
class ChecksFiles(Protocol):
    """A source whose files are no plain images, and which therefore checks their headers itself."""

    def check_files(self, cases: Iterable[Case]) -> None:
        """Raise `DataError` for a file that is missing or damaged, or a label that does not fit its image."""
        ...


def check_files(cases: Iterable[Case], source: Source | None = None) -> None:
    """Read the header of every image and label file and compare their sizes. Generated cases are passed over.

    Args:
        cases: what to check.
        source: where they come from; one that `ChecksFiles` is left to check its own.

    Raises:
        DataError: a file is missing, empty, not an image or too large, or a label differs in size from its
            image.
    """
    if isinstance(source, ChecksFiles):
        source.check_files(cases)
        return
    for case in cases:
        if case.image is None:
            continue
        size = original_size(case.image)
        for label in case.labels:
            if original_size(label) != size:
                raise DataError(
                    f"{label}: the label is {_by(original_size(label))}, but its image {case.image.name} is "
                    f"{_by(size)}; resample the label to the image's size"
                )


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in size)
