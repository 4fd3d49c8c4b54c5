from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.duplicates import MIN_SIMILARITY, DuplicatePair, find_duplicates, fingerprint
from meddistill.data.phantom import phantom_case

SIZE = (96, 112)


def scan(seed: int) -> np.ndarray:
    return phantom_case(seed, size=SIZE)[0]


SCANS = [scan(seed) for seed in range(24)]


def pairs(*images: np.ndarray) -> list[DuplicatePair]:
    """Duplicates among 24 different scans followed by `images`."""
    return find_duplicates([fingerprint(image) for image in (*SCANS, *images)])


def with_calipers(image: np.ndarray) -> np.ndarray:
    marked = image.copy()
    for row, column in ((40, 30), (40, 80), (25, 55), (60, 55)):
        marked[0, row - 3 : row + 4, column] = 255
        marked[0, row, column - 3 : column + 4] = 255
    marked[0, 40, 30:80:3] = 220
    return marked


def test_different_scans_are_not_duplicates():
    assert pairs() == []


def test_equal_pixels_are_exact_and_all_pairs_of_a_set_of_copies_are_listed():
    found = pairs(SCANS[3].copy(), SCANS[3].copy())
    assert found == [DuplicatePair(i, j, 1.0, exact=True) for i, j in ((3, 24), (3, 25), (24, 25))]


def test_one_grey_level_makes_them_near_not_exact():
    changed = SCANS[5].copy()
    changed[0, 10, 10] ^= 1
    (pair,) = pairs(changed)
    assert (pair.first, pair.second, pair.exact) == (5, 24, False)
    assert pair.similarity > 0.999


@pytest.mark.parametrize(
    "change",
    [
        with_calipers,
        lambda image: (image * 0.7 + 30).astype(np.uint8),
        lambda image: np.roll(image, (2, -3), axis=(1, 2)),
        lambda image: image[:, 1:, 1:],
        lambda image: np.repeat(np.repeat(image, 2, axis=1), 2, axis=2),
        lambda image: np.repeat(image, 3, axis=0),
        lambda image: (image / np.float32(255)).astype(np.float32),
    ],
    ids=["calipers", "contrast", "shift", "crop", "upsampled", "colour", "float"],
)
def test_the_same_view_after_small_changes_is_near(change):
    (pair,) = pairs(change(SCANS[7]))
    assert (pair.first, pair.second, pair.exact) == (7, 24, False)
    assert pair.similarity >= MIN_SIMILARITY


@pytest.mark.parametrize("change", [lambda image: image[:, :, ::-1], lambda image: 255 - image])
def test_mirrored_and_inverted_views_are_not_duplicates(change):
    assert pairs(change(SCANS[7])) == []


def test_layout_shared_by_all_images_does_not_make_duplicates():
    layout = np.zeros((1, *SIZE))
    layout[0, 20:70, 10:100] = 90
    layout[0, 75:80] = 180
    shared = [np.clip(image * 0.4 + layout, 0, 255).astype(np.uint8) for image in SCANS]
    assert find_duplicates([fingerprint(image) for image in shared]) == []


def test_constant_images_match_exactly_or_not_at_all():
    black, grey = (np.full((1, 64, 64), value, dtype=np.uint8) for value in (0, 90))
    found = pairs(black, grey, black.copy())
    assert [(pair.first, pair.second, pair.exact) for pair in found] == [(24, 26, True)]


def test_type_and_shape_are_part_of_the_exact_hash():
    row = np.arange(64 * 32, dtype=np.uint8).reshape(1, 64, 32)
    assert fingerprint(row).digest != fingerprint(row.reshape(1, 32, 64)).digest
    assert fingerprint(row).digest != fingerprint(row.astype(np.int8)).digest
    assert fingerprint(row).digest == fingerprint(np.asfortranarray(row)).digest


def test_volumes_are_compared_and_never_with_images():
    volumes = [phantom_case(seed, size=(32, 36, 40))[0] for seed in range(6)]
    brighter = (volumes[2] * 0.6 + 40).astype(np.uint8)
    found = find_duplicates([fingerprint(image) for image in (*volumes, brighter, *SCANS[:4])])
    assert [(pair.first, pair.second, pair.exact) for pair in found] == [(2, 6, False)]


def test_tiny_images_and_short_lists():
    tiny = np.random.default_rng(0).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)
    assert find_duplicates([]) == []
    assert find_duplicates([fingerprint(tiny[0])]) == []
    found = find_duplicates([fingerprint(image) for image in (*tiny, tiny[1] // 2 + 60)])
    assert [(pair.first, pair.second) for pair in found] == [(1, 4)]


@settings(max_examples=10)
@given(st.permutations(range(8)))
def test_result_does_not_depend_on_order(order):
    images = [*SCANS[:5], with_calipers(SCANS[0]), SCANS[1].copy(), np.roll(SCANS[2], 2, axis=2)]
    found = find_duplicates([fingerprint(images[position]) for position in order])
    named = {frozenset((order[pair.first], order[pair.second])): pair.exact for pair in found}
    assert named == {frozenset((0, 5)): False, frozenset((1, 6)): True, frozenset((2, 7)): False}
    assert all(pair.first < pair.second for pair in found)


def test_thresholds_can_be_tightened():
    prints = [fingerprint(image) for image in (*SCANS, with_calipers(SCANS[7]))]
    assert len(find_duplicates(prints)) == 1
    assert find_duplicates(prints, min_similarity=0.9999) == []
    assert find_duplicates(prints, max_distance=-1) == []


def test_blocks_agree_with_one_piece(monkeypatch):
    from meddistill.data import duplicates

    prints = [fingerprint(image) for image in (*SCANS, *(np.roll(image, 1, axis=1) for image in SCANS))]
    whole = find_duplicates(prints)
    monkeypatch.setattr(duplicates, "_ROWS", 5)
    monkeypatch.setattr(duplicates, "_PAIRS", 3)
    assert [(p.first, p.second) for p in find_duplicates(prints)] == [(p.first, p.second) for p in whole]
    assert len(whole) == 24
