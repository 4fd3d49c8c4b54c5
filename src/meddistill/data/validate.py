"""Checks that need no decoding, made before any training starts."""

from __future__ import annotations

from collections.abc import Iterable

from meddistill.data.case import Case
from meddistill.data.images import original_size
from meddistill.errors import DataError


def check_files(cases: Iterable[Case]) -> None:
    """Read the header of every image and label file and compare their sizes. Generated cases are passed over.

    Raises:
        DataError: a file is missing, empty, not an image or too large, or a label differs in size from its
            image.
    """
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
