"""Noise brought to the cases of a source."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.data.noise import create_noise
from meddistill.data.noise.relabelling import Changes, NoisyMaps, count_label, noisy_answers
from meddistill.errors import ConfigError

CASES = [Case(f"{number}") for number in range(60)]


def source_of(labels, names=("a", "b", "c"), task="classification", images=None):
    """A source with one label a case, in the order of `CASES`; looking at images without any fails."""
    held = {case.id: np.asarray(label, np.int16) for case, label in zip(CASES, labels, strict=True)}
    return SimpleNamespace(
        task=task,
        class_names=names,
        dims=2,
        read_label=lambda case: held[case.id],
        read_image=lambda case: images[int(case.id)],
    )


@given(st.integers(0, 1000), st.permutations(range(60)))
def test_a_label_depends_on_seed_and_id_alone(seed, order):
    source, noise = source_of(np.arange(60) % 3), create_noise("symmetric", rate=0.4)
    whole = noisy_answers(noise, source, CASES, seed=seed).labels
    some = noisy_answers(noise, source, [CASES[place] for place in order[:20]], seed=seed).labels
    assert all(some[case] == whole[case] for case in some)


def test_the_labels_are_those_of_the_noise_itself():
    truth, noise = np.arange(60) % 3, create_noise("pair_flip", rate=0.5)
    made = noisy_answers(noise, source_of(truth), CASES, seed=3)
    wanted = noise.apply(truth, seed=3, ids=[case.id for case in CASES], num_classes=3)
    assert [int(made.labels[case.id]) for case in CASES] == wanted.tolist()
    label = made.label(CASES[0], torch.tensor(0, dtype=torch.int16))
    assert (label.shape, label.dtype) == ((), torch.int16)


def test_each_of_several_labels_is_a_question_of_its_own():
    truth = np.stack([np.zeros(60), np.ones(60), np.full(60, IGNORE_INDEX)], axis=1)
    source = source_of(truth, task="multi_label")
    found = noisy_answers(create_noise("symmetric", rate=0.3), source, CASES, seed=0).labels
    noisy = np.stack([found[case.id] for case in CASES])
    flipped = noisy != truth
    assert (noisy[:, 2] == IGNORE_INDEX).all()
    assert 0.15 < flipped[:, 0].mean() < 0.45
    assert 0.15 < flipped[:, 1].mean() < 0.45
    assert (flipped[:, 0] != flipped[:, 1]).any()


def test_a_matrix_of_yes_and_no_says_how_often_a_finding_is_overlooked():
    truth = np.stack([np.zeros(60), np.ones(60)], axis=1)
    noise = create_noise("class_conditional", matrix=[[1, 0], [1, 0]])
    found = noisy_answers(noise, source_of(truth, ("x", "y"), "multi_label"), CASES, seed=0).labels
    assert not np.stack(list(found.values())).any()


@pytest.mark.parametrize("name", ["pair_flip", "instance_dependent"])
def test_kinds_that_choose_among_classes_mean_nothing_for_questions(name):
    source = source_of(np.zeros((60, 2)), ("x", "y"), "multi_label")
    with pytest.raises(ConfigError, match=f"{name} chooses among several classes"):
        noisy_answers(create_noise(name, rate=0.2), source, CASES, seed=0)


def test_noise_that_looks_at_images_sees_each_averaged_to_few_pixels():
    """Two images that have the same mean in each of 8 x 8 fields look the same."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 250, (60, 1, 8, 8)).astype(np.uint8)
    large = coarse.repeat(2, axis=2).repeat(2, axis=3)
    noise, truth = create_noise("instance_dependent", rate=0.5), np.arange(60) % 3
    given_coarse = noisy_answers(noise, source_of(truth, images=coarse), CASES, seed=0).labels
    given_large = noisy_answers(noise, source_of(truth, images=large), CASES, seed=0).labels
    features = coarse.reshape(60, -1).astype(float)
    wanted = noise.apply(truth, seed=0, features=features, ids=[case.id for case in CASES], num_classes=3)
    assert [int(given_coarse[case.id]) for case in CASES] == wanted.tolist()
    assert given_large == given_coarse


def test_a_map_is_changed_as_the_noise_would():
    noise, label = create_noise("missing_lesion", rate=0.5), torch.zeros(9, 9, dtype=torch.int16)
    label[2, 2] = label[6, 6] = label[2, 6] = 1
    made = NoisyMaps(noise, seed=4).label(Case("x"), label)
    assert made.numpy().tolist() == noise.apply(label.numpy(), seed=4, case_id="x").tolist()


def test_changes_are_counted_among_known_labels():
    assert count_label(torch.tensor([0, 1, IGNORE_INDEX]), torch.tensor([0, 2, IGNORE_INDEX])) == (1, 2)
    assert Changes(1, 2).share == 0.5
    assert Changes(0, 0).share == 0.0
