"""Finding images that occur twice: pixel for pixel, or as nearly the same view.

Exact duplicates have equal decoded pixels. Near-duplicates must pass two tests:

1. Their 64-bit perceptual hashes (low-frequency cosine coefficients above or below their median, as in
   Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions") differ in at most
   `MAX_DISTANCE` bits. This is cheap and finds candidates.
2. The correlation of their whitened thumbnails (64 x 64, or 16 x 16 x 16) at the best shift of up to a
   sixteenth of the side is at least `MIN_SIMILARITY`. Whitening divides by the mean amplitude spectrum of the
   whole set, so that what all its images share (the layout of the organ, slow shading) counts little.

Both numbers were set by looking at pairs near the border in three public sets. From 0.55 up, every pair seen
in BUSI (780 images) and BUS-UCLM (670 frames) shows the same lesion or view, often with and without
caliper marks. Chest radiographs (1124 images) are more alike: there, different patients reach 0.58.
Precision comes first: views that were rescaled or moved further are missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meddistill.data._averages import along, averaged

MAX_DISTANCE = 14
"""Most differing bits of 64 between the perceptual hashes of near-duplicates."""

MIN_SIMILARITY = 0.65
"""Least correlation of whitened thumbnails at the best shift between near-duplicates."""

_ROWS, _PAIRS = 256, 512
_LOWPASS = 0.7


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of an image to find its duplicates.

    Args:
        digest: SHA-256 of shape, type and pixels, hexadecimal.
        bits: perceptual hash of 64 bits.
        thumbnail: the image averaged over channels and down to equal sides, minus its mean; float32.
    """

    digest: str
    bits: int
    thumbnail: npt.NDArray[np.float32]


@dataclass(frozen=True)
class DuplicatePair:
    """Two images that show the same; `similarity` is 1.0 when `exact`, else the correlation of thumbnails."""

    first: int
    second: int
    similarity: float
    exact: bool


def fingerprint(image: npt.NDArray[np.generic]) -> Fingerprint:
    """The fingerprint of an image (C, *S) of 2 or 3 spatial axes; channels are averaged.

    Example:
        >>> image = np.arange(96 * 80, dtype=np.uint8).reshape(1, 96, 80)
        >>> fingerprint(image).thumbnail.shape, fingerprint(image).digest == fingerprint(image + 1).digest
        ((64, 64), False)
    """
    header = f"{image.dtype.str}{image.shape}".encode()
    digest = hashlib.sha256(header + np.ascontiguousarray(image).tobytes()).hexdigest()
    grey = image.mean(axis=0, dtype=np.float64)
    side, kept = (64, 8) if grey.ndim == 2 else (16, 4)
    thumbnail = averaged(grey, side)
    thumbnail = thumbnail - thumbnail.mean()
    return Fingerprint(digest, _perceptual_hash(thumbnail, kept), thumbnail.astype(np.float32))


def find_duplicates(
    fingerprints: Sequence[Fingerprint],
    *,
    max_distance: int = MAX_DISTANCE,
    min_similarity: float = MIN_SIMILARITY,
) -> list[DuplicatePair]:
    """All pairs of exact and near duplicates, by position, `first < second`, most similar first.

    Every pair is compared (a few thousand images take seconds); constant images match exactly or not at all.

    Example:
        >>> from meddistill.data.phantom import phantom_case
        >>> images = [phantom_case(seed, size=(64, 64))[0] for seed in (0, 1)]
        >>> brighter = images[0] // 2 + 90
        >>> pairs = find_duplicates([fingerprint(i) for i in (images[0], images[1], brighter, images[1])])
        >>> [(pair.first, pair.second, pair.exact) for pair in pairs]
        [(1, 3, True), (0, 2, False)]
    """
    digests = [item.digest for item in fingerprints]
    pairs = [
        DuplicatePair(int(i), int(j), round(float(similarity), 4), exact=False)
        for i, j, similarity in _candidates(fingerprints, max_distance)
        if similarity >= min_similarity and digests[i] != digests[j]
    ]
    pairs += [DuplicatePair(i, j, 1.0, exact=True) for i, j in _equal(digests)]
    return sorted(pairs, key=lambda pair: (not pair.exact, -pair.similarity, pair.first, pair.second))


def _equal(digests: Sequence[str]) -> Iterator[tuple[int, int]]:
    members: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        for earlier in members.get(digest, ()):
            yield earlier, position
        members.setdefault(digest, []).append(position)


def _candidates(items: Sequence[Fingerprint], max_distance: int) -> Iterator[tuple[int, int, float]]:
    """Pairs whose hashes are close, with the correlation of their whitened thumbnails."""
    usable = np.array([n for n, item in enumerate(items) if np.ptp(item.thumbnail) > 1e-3], dtype=np.intp)
    for dims in {items[n].thumbnail.ndim for n in usable}:
        group = np.array([n for n in usable if items[n].thumbnail.ndim == dims])
        spectra = _whitened(np.stack([items[n].thumbnail for n in group]))
        i, j = _close_hashes(np.array([items[n].bits for n in group], dtype=np.uint64), max_distance)
        for start in range(0, len(i), _PAIRS):
            left, right = i[start : start + _PAIRS], j[start : start + _PAIRS]
            yield from zip(
                group[left], group[right], _correlation(spectra[left], spectra[right]), strict=True
            )


def _close_hashes(
    bits: npt.NDArray[np.uint64], max_distance: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Positions (i, j), i < j, of hashes at most `max_distance` bits apart."""
    found = [np.zeros((2, 0), dtype=np.intp)]
    for start in range(0, len(bits), _ROWS):
        distance = np.bitwise_count(bits[start : start + _ROWS, None] ^ bits[None, start:])
        i, j = np.nonzero(np.triu(distance <= max_distance, k=1))
        found.append(np.stack([i, j]) + start)
    i, j = np.concatenate(found, axis=1)
    return i, j


def _whitened(thumbnails: npt.NDArray[np.float32]) -> npt.NDArray[np.complex64]:
    """Spectra of (N, *S) thumbnails over their mean amplitude, without the finest detail, each of norm 1."""
    axes = tuple(range(1, thumbnails.ndim))
    spectra = np.fft.fftn(thumbnails, axes=axes)
    amplitude = np.sqrt(np.mean(np.abs(spectra) ** 2, axis=0))
    squares = _squared_frequency(thumbnails.ndim - 1, thumbnails.shape[1])
    spectra *= np.exp(-2.0 * (np.pi * _LOWPASS) ** 2 * squares) / (amplitude + 1e-4 * amplitude.max())
    norms = np.sqrt(np.sum(np.abs(spectra) ** 2, axis=axes, keepdims=True))
    return np.asarray(spectra / norms, dtype=np.complex64)


def _squared_frequency(dims: int, side: int) -> npt.NDArray[np.float64]:
    grid = np.meshgrid(*[np.fft.fftfreq(side)] * dims, indexing="ij")
    return np.asarray(sum(axis**2 for axis in grid))


def _correlation(a: npt.NDArray[np.complex64], b: npt.NDArray[np.complex64]) -> npt.NDArray[np.float32]:
    """Largest circular correlation from (N, *S) unit-norm spectra over the shifts allowed."""
    axes, side = tuple(range(1, a.ndim)), a.shape[1]
    correlation = np.fft.ifftn(a * b.conj(), axes=axes).real * side ** len(axes)
    near = np.arange(-(side // 16), side // 16 + 1)
    for axis in axes:
        correlation = np.take(correlation, near, axis=axis)
    return np.asarray(correlation.max(axis=axes), dtype=np.float32)


def _perceptual_hash(thumbnail: npt.NDArray[np.float64], kept: int) -> int:
    coefficients = thumbnail
    for axis, side in enumerate(thumbnail.shape):
        steps = np.arange(side) + 0.5
        cosine = np.cos(np.pi / side * np.arange(kept)[:, None] * steps[None, :])
        coefficients = along(cosine, coefficients, axis)
    flat = coefficients.ravel()
    signs = flat > np.median(flat[1:])
    return int.from_bytes(np.packbits(signs).tobytes(), "big")
