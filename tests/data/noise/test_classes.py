"""Noise on labels that are one class for each case."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.case import IGNORE_INDEX
from meddistill.data.noise import InstanceDependent, count_changes, create_noise
from meddistill.errors import ConfigError

RATES = st.floats(0, 1)
SEEDS = st.integers(0, 2**31)
KINDS = ["symmetric", "pair_flip", "class_conditional", "instance_dependent"]


def noise_of(kind: str, rate: float, classes: int = 4):
    """Noise of that kind and rate; for the matrix one that favours low classes."""
    if kind != "class_conditional":
        return create_noise(kind, rate=rate)
    others = np.arange(classes, 0, -1) * (1 - np.eye(classes))
    matrix = (1 - rate) * np.eye(classes) + rate * others / others.sum(1, keepdims=True)
    return create_noise(kind, matrix=matrix.tolist())


def labels_of(count: int, classes: int = 4, *, ignored: bool = False):
    labels = np.arange(count) % classes
    if ignored:
        labels[::5] = IGNORE_INDEX
    return labels


def features_of(count: int, seed: int = 0):
    return np.random.default_rng(seed).normal(size=(count, 6))


def within(count, total, probability):
    """Six standard deviations of a binomial count, and three more for rare ones."""
    bound = 6 * np.sqrt(total * probability * (1 - probability)) + 3
    return np.abs(count - total * probability) <= bound


@settings(max_examples=25)
@given(st.sampled_from(KINDS[:3]), RATES, st.integers(2, 6), SEEDS)
def test_the_matrix_is_met(kind, rate, classes, seed):
    noise, labels = noise_of(kind, rate, classes), labels_of(3000, classes)
    matrix = noise.transition_matrix(classes)
    assert matrix.shape == (classes, classes)
    assert np.allclose(matrix.sum(1), 1)
    assert np.allclose(np.diag(matrix), 1 - rate)
    counts = count_changes(labels, noise.apply(labels, seed=seed), classes)
    assert within(counts, counts.sum(1, keepdims=True), matrix).all()


@settings(max_examples=25)
@given(st.sampled_from(KINDS), RATES, SEEDS)
def test_the_rate_is_met(kind, rate, seed):
    labels = labels_of(2000)
    noisy = noise_of(kind, rate).apply(labels, seed=seed, features=features_of(2000))
    assert within((noisy != labels).sum(), 2000, rate)


@given(st.sampled_from(KINDS), RATES, SEEDS)
def test_ignored_labels_stay_and_the_input_is_left_alone(kind, rate, seed):
    labels = labels_of(60, ignored=True).astype(np.int16)
    before = labels.copy()
    noisy = noise_of(kind, rate).apply(labels, seed=seed, features=features_of(60), num_classes=4)
    assert np.array_equal(labels, before)
    assert (noisy.dtype, noisy.shape) == (labels.dtype, labels.shape)
    assert np.array_equal(noisy == IGNORE_INDEX, labels == IGNORE_INDEX)
    assert ((noisy >= 0) & (noisy < 4))[labels != IGNORE_INDEX].all()


@given(st.sampled_from(KINDS), SEEDS)
def test_without_noise_nothing_changes(kind, seed):
    labels = labels_of(60)
    assert np.array_equal(noise_of(kind, 0).apply(labels, seed=seed, features=features_of(60)), labels)


@given(st.sampled_from(KINDS[:2]), SEEDS)
def test_at_a_rate_of_one_no_label_is_right(kind, seed):
    labels = labels_of(60)
    assert (noise_of(kind, 1).apply(labels, seed=seed) != labels).all()


@given(st.sampled_from(KINDS), SEEDS, st.permutations(range(40)))
def test_the_order_of_the_cases_does_not_matter(kind, seed, order):
    labels, features, ids = labels_of(40), features_of(40), [f"case {n}" for n in range(40)]
    noise = noise_of(kind, 0.5)
    noisy = noise.apply(labels, seed=seed, features=features, ids=ids)
    moved = noise.apply(labels[order], seed=seed, features=features[order], ids=[ids[n] for n in order])
    assert np.array_equal(moved, noisy[order])


@pytest.mark.parametrize("kind", KINDS[:3])
def test_other_cases_do_not_matter(kind):
    labels, ids = labels_of(40), [f"case {n}" for n in range(40)]
    noise = noise_of(kind, 0.5)
    whole = noise.apply(labels, seed=1, ids=ids)
    part = noise.apply(labels[10:20], seed=1, ids=ids[10:20], num_classes=4)
    assert np.array_equal(part, whole[10:20])


@pytest.mark.parametrize("kind", KINDS)
def test_other_seeds_draw_otherwise(kind):
    labels, features = labels_of(200), features_of(200)
    noise = noise_of(kind, 0.5)
    first, again, other = (noise.apply(labels, seed=seed, features=features) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pairs_are_neighbours():
    labels = labels_of(200)
    noisy = create_noise("pair_flip", rate=0.5).apply(labels, seed=0)
    changed = noisy != labels
    assert changed.any()
    assert np.array_equal(noisy[changed], (labels[changed] + 1) % 4)


@settings(max_examples=10)
@given(st.floats(0.01, 0.99), SEEDS)
def test_the_rates_of_cases_spread_round_the_mean(rate, seed):
    rates = InstanceDependent(rate=rate).rates([str(n) for n in range(2000)], seed=seed)
    assert ((rates >= 0) & (rates <= 1)).all()
    assert abs(rates.mean() - rate) < 6 * 0.1 / np.sqrt(2000)
    reach = min(rate, 1 - rate)
    assert np.abs(rates - rate).max() <= reach + 1e-9
    if reach > 0.4:
        assert rates.std() == pytest.approx(0.1, rel=0.1)


def test_alike_cases_are_taken_for_the_same_class():
    """Two groups of features within one class: each has a favourite among the wrong classes."""
    features = np.concatenate([np.full((500, 1), -3.0), np.full((500, 1), 3.0)])
    labels = np.zeros(1000, dtype=int)
    noise = InstanceDependent(rate=0.5, sharpness=20.0)
    noisy = noise.apply(labels, seed=2, features=features, num_classes=4)
    favourites = []
    for part in (noisy[:500], noisy[500:]):
        wrong = part[part != 0]
        favourites.append(np.bincount(wrong).argmax())
        assert (wrong == favourites[-1]).mean() > 0.9
    assert favourites[0] != favourites[1]


def test_the_probabilities_are_those_that_are_met():
    features, labels, ids = features_of(4000), labels_of(4000), [str(n) for n in range(4000)]
    noise = InstanceDependent(rate=0.3, sharpness=3.0)
    chances = noise.probabilities(labels, 4, seed=5, ids=ids, features=features)
    assert np.allclose(chances.sum(1), 1)
    noisy = noise.apply(labels, seed=5, features=features)
    for value in range(4):
        for noted in range(4):
            expected = chances[labels == value, noted]
            count = (noisy[labels == value] == noted).sum()
            assert abs(count - expected.sum()) <= 6 * np.sqrt((expected * (1 - expected)).sum()) + 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_description_is_plain_and_builds_the_same(kind):
    noise = noise_of(kind, 0.25)
    described = json.loads(json.dumps(noise.describe()))
    assert described["name"] == kind
    assert create_noise(**described).describe() == noise.describe()


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("symetric", {}, "unknown label noise 'symetric'; did you mean 'symmetric'"),
        ("symmetric", {"rat": 0.1, "rate": 0.1}, "unknown option of label noise symmetric 'rat'"),
        ("symmetric", {}, "symmetric needs the option rate"),
        ("symmetric", {"rate": 1.2}, "rate must lie in 0..1, not 1.2"),
        ("pair_flip", {"rate": True}, "rate must lie in 0..1, not True"),
        ("class_conditional", {"matrix": [[0.9, 0.2], [0, 1]]}, "row 0 of matrix adds up to 1.1"),
        ("class_conditional", {"matrix": [[1, 0], [1.5, -0.5]]}, "row 1 of matrix holds a number"),
        ("class_conditional", {"matrix": [[1, 0]]}, "as many columns as rows"),
        ("class_conditional", {"matrix": [[1, 0], [1]]}, "as many columns as rows"),
        ("class_conditional", {"matrix": "many"}, "as many columns as rows"),
        ("instance_dependent", {"rate": 0.1, "spread": 0}, "spread must be a number above 0, not 0"),
    ],
)
def test_what_cannot_be_is_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        create_noise(kind, **options)


@pytest.mark.parametrize(
    ("kind", "labels", "options", "words"),
    [
        ("symmetric", [0, 4], {"num_classes": 4}, "labels run from 0 to 4; they must be 0 to 4 less 1"),
        ("symmetric", [[0, 1]], {}, r"labels \(1, 2\) must be \(N,\)"),
        ("symmetric", [0, 1], {"ids": ["a"]}, "one class for each of the 1 cases"),
        ("symmetric", [0, 0], {}, "with one class no label can be wrong"),
        ("class_conditional", [0, 1], {}, "matrix has 4 rows, but there are 2 classes"),
        ("instance_dependent", [0, 1], {}, "instance_dependent needs features"),
        ("instance_dependent", [0, 1], {"features": np.zeros((3, 2))}, r"features \(3, 2\) must be"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind, labels, options, words):
    with pytest.raises(ConfigError, match=words):
        noise_of(kind, 0.5).apply(np.array(labels), seed=0, **options)


def test_nothing_known_stays_as_it_is():
    labels = np.full(3, IGNORE_INDEX)
    assert np.array_equal(create_noise("symmetric", rate=1.0).apply(labels, seed=0), labels)
