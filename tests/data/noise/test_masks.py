"""Noise on label maps, in two and three axes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.noise import create_noise
from meddistill.errors import ConfigError
from tests.data.weak.maps import disc, label_maps, ring

KINDS = ["erosion", "dilation", "boundary_jitter", "missing_lesion"]
SEEDS = st.integers(0, 2**31)


def ball(size=13, radius=4):
    grid = np.arange(size) - size // 2
    squares = grid[:, None, None] ** 2 + grid[:, None] ** 2 + grid**2
    return (squares <= radius**2).astype(np.int16)


@given(st.sampled_from(KINDS), st.floats(0, 1), label_maps(), SEEDS, st.text(max_size=4))
def test_ignored_pixels_stay_and_no_class_is_invented(kind, rate, label, seed, case_id):
    before = label.copy()
    noisy = create_noise(kind, rate=rate).apply(label, seed=seed, case_id=case_id)
    assert np.array_equal(label, before)
    assert (noisy.dtype, noisy.shape) == (label.dtype, label.shape)
    assert np.array_equal(noisy == IGNORE_INDEX, label == IGNORE_INDEX)
    assert set(np.unique(noisy)) <= set(np.unique(label)) | {0}


@given(st.sampled_from(KINDS), label_maps(), SEEDS)
def test_without_noise_nothing_changes(kind, label, seed):
    assert np.array_equal(create_noise(kind, rate=0.0).apply(label, seed=seed), label)


@given(st.sampled_from(KINDS), label_maps(), SEEDS, st.text(max_size=4))
def test_seed_and_case_decide_everything(kind, label, seed, case_id):
    noise = create_noise(kind, rate=0.5)
    first = noise.apply(label, seed=seed, case_id=case_id)
    assert np.array_equal(noise.apply(label.astype(np.int64), seed=seed, case_id=case_id), first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_as_many_cases_are_changed_as_the_rate_says(kind, rate):
    """400 cases of one lesion: within six standard deviations of the binomial count."""
    noise = create_noise(kind, rate=rate)
    changed = sum((noise.apply(disc(), seed=3, case_id=f"{n}") != disc()).any() for n in range(400))
    assert abs(changed - 400 * rate) <= 6 * np.sqrt(400 * rate * (1 - rate))


@pytest.mark.parametrize("label", [disc(), ball(), ring()])
@pytest.mark.parametrize("width", [1, 2.5])
def test_erosion_takes_what_is_near_the_outside(label, width):
    noisy = create_noise("erosion", width=width).apply(label, seed=0)
    for value in np.unique(label[label > 0]):
        depth = ndimage.distance_transform_edt(label == value)
        assert np.array_equal(noisy == value, depth > width)
    assert (noisy[noisy != label] == 0).all()


@given(label_maps(), st.floats(0.5, 6))
def test_erosion_leaves_something_of_every_object(label, width):
    noisy = create_noise("erosion", width=width).apply(label, seed=0)
    for value in np.unique(label[label > 0]):
        parts, count = ndimage.label(label == value, np.ones((3,) * label.ndim))
        assert set(parts[noisy == value]) == set(range(1, count + 1))


@pytest.mark.parametrize("label", [disc(), ball()])
@pytest.mark.parametrize("width", [1, 2.5])
def test_dilation_reaches_as_far_as_it_says(label, width):
    noisy = create_noise("dilation", width=width).apply(label, seed=0)
    away = ndimage.distance_transform_edt(label == 0)
    assert np.array_equal(noisy == 1, away <= width)


@given(label_maps(), st.floats(0.5, 6))
def test_dilation_changes_background_alone(label, width):
    noisy = create_noise("dilation", width=width).apply(label, seed=0)
    assert (label[noisy != label] == 0).all()


@settings(max_examples=20)
@given(st.sampled_from([disc(), ball(), ring()]), st.floats(0.5, 2), SEEDS)
def test_jitter_stays_near_the_boundaries(label, width, seed):
    noisy = create_noise("boundary_jitter", width=width, smoothness=3.0).apply(label, seed=seed)
    distances = [ndimage.distance_transform_edt(label == value) for value in np.unique(label)]
    inside = np.max(distances, axis=0)
    reach = (3 * width + 0.5) * np.sqrt(label.ndim)
    assert (inside[noisy != label] <= reach).all()


def test_jitter_moves_the_boundary_to_both_sides():
    label = disc(41, 14)
    noise = create_noise("boundary_jitter", width=2.0)
    maps = [noise.apply(label, seed=0, case_id=f"{n}") for n in range(8)]
    assert all(((noisy > label).any(), (noisy < label).any()) == (True, True) for noisy in maps)
    sizes = [(noisy == 1).sum() / (label == 1).sum() for noisy in maps]
    assert 0.8 < np.mean(sizes) < 1.2


@given(label_maps(), st.floats(0, 1), SEEDS)
def test_a_lesion_is_missing_as_a_whole_or_not_at_all(label, rate, seed):
    noisy = create_noise("missing_lesion", rate=rate).apply(label, seed=seed)
    parts, count = ndimage.label(label > 0, np.ones((3,) * label.ndim))
    for number in range(1, count + 1):
        lesion = parts == number
        gone = (noisy[lesion] == 0).all()
        assert gone or np.array_equal(noisy[lesion], label[lesion])
    assert np.array_equal(noisy[parts == 0], label[parts == 0])


def test_each_lesion_is_missing_by_itself():
    label = np.zeros((60, 60), dtype=np.int16)
    label[::3, ::3] = 1
    gone = (create_noise("missing_lesion", rate=0.3).apply(label, seed=1)[::3, ::3] == 0).sum()
    assert abs(gone - 120) <= 6 * np.sqrt(400 * 0.3 * 0.7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_without_objects_stays(kind):
    for empty in (np.zeros((6, 5), dtype=np.int16), np.full((4, 3, 2), IGNORE_INDEX, dtype=np.int16)):
        assert np.array_equal(create_noise(kind, rate=1.0).apply(empty, seed=0), empty)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_that_is_one_object_is_not_eroded_from_its_border(kind):
    full = np.ones((6, 5), dtype=np.int16)
    noisy = create_noise(kind, rate=1.0).apply(full, seed=0)
    assert np.array_equal(noisy, full) == (kind != "missing_lesion")


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_is_plain_and_builds_the_same(kind):
    noise = create_noise(kind, rate=0.25)
    described = json.loads(json.dumps(noise.describe()))
    assert (described["name"], described["rate"]) == (kind, 0.25)
    assert create_noise(**described) == noise


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("erosion", {"width": 0}, "width must be a number above 0, not 0"),
        ("dilation", {"rate": -0.1}, "rate must lie in 0..1, not -0.1"),
        ("boundary_jitter", {"smoothness": "4"}, "smoothness must be a number above 0, not '4'"),
        ("missing_lesion", {"rates": 0.1}, "unknown option of label noise missing_lesion 'rates'"),
    ],
)
def test_what_cannot_be_is_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        create_noise(kind, **options)
