import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.told_apart import tell_apart
from meddistill.errors import ConfigError, DataError


def alone(count):
    return [f"{number}" for number in range(count)]


def noise(count, features=1, seed=0):
    return np.random.default_rng(seed).normal(size=(count, features))


def test_what_holds_the_class_tells_it():
    labels = np.arange(90) % 3
    features = np.eye(3)[labels] + 0.01 * noise(90, 3)
    found = tell_apart(features, labels, alone(90))
    assert found.balanced_accuracy == (1.0, 1.0, 1.0)
    assert found.auroc == ((1.0, 1.0, 1.0),) * 3


def test_one_class_may_give_itself_away_and_the_others_not():
    labels = np.arange(240) % 3
    features = noise(240) + 6.0 * (labels == 2)[:, None]
    found = tell_apart(features, labels, alone(240))
    assert found.auroc[2].low > 0.99
    assert found.auroc[2].value > max(found.auroc[0].value, found.auroc[1].value) + 0.1
    assert 0.5 < found.balanced_accuracy.value < 0.8


def test_what_does_not_hold_the_class_is_at_chance():
    labels = np.arange(300) % 3
    found = [tell_apart(noise(300, 40, seed), labels, alone(300), resamples=100) for seed in range(8)]
    assert np.mean([one.balanced_accuracy.value for one in found]) == pytest.approx(1 / 3, abs=0.04)
    assert np.mean([score.value for one in found for score in one.auroc]) == pytest.approx(0.5, abs=0.04)
    assert max(score.low for one in found for score in one.auroc) < 0.6


def test_no_image_is_judged_by_a_classifier_that_saw_its_group():
    """Each group has a colour of its own and a class by chance: only its own images could tell it."""
    members = np.repeat(np.arange(60), 4)
    labels = np.random.default_rng(0).permutation(np.arange(60) % 2)[members]
    features = np.eye(60)[members]
    leaking = tell_apart(features, labels, alone(240))
    grouped = tell_apart(features, labels, [f"{member}" for member in members])
    assert leaking.balanced_accuracy.value > 0.95
    assert grouped.balanced_accuracy.value < 0.6


def test_rare_classes_count_as_much_as_others():
    labels = (np.arange(440) % 11 == 0).astype(int)
    found = tell_apart(noise(440) + 1.0 * labels[:, None], labels, alone(440))
    assert found.balanced_accuracy.value == pytest.approx(0.69, abs=0.08)  # Phi(0.5), the best there is


def test_the_interval_follows_the_number_of_groups_not_of_images():
    labels = np.arange(40) % 2
    features = noise(40) + labels[:, None]
    once = tell_apart(features, labels, alone(40)).auroc[0]
    copied = tell_apart(np.repeat(features, 9, axis=0), np.repeat(labels, 9), list(np.repeat(alone(40), 9)))
    assert copied.auroc[0].high - copied.auroc[0].low == pytest.approx(once.high - once.low, rel=0.15)


def test_constant_features_say_nothing():
    labels = np.arange(40) % 2
    found = tell_apart(np.full((40, 3), 7.0), labels, alone(40))
    assert found.balanced_accuracy == (0.5, 0.5, 0.5)
    assert found.auroc == ((0.5, 0.5, 0.5),) * 2


@settings(max_examples=15)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100), seed=st.integers(0, 99))
def test_scale_and_shift_of_features_do_not_matter(scale, shift, seed):
    labels = np.arange(40) % 2
    features = noise(40, 3, seed) + 0.5 * labels[:, None]
    first = tell_apart(features, labels, alone(40), resamples=1)
    second = tell_apart(features * scale + shift, labels, alone(40), resamples=1)
    assert second.auroc[0].value == pytest.approx(first.auroc[0].value, abs=0.02)


def test_the_area_is_that_of_two_classes_seen_from_either_side():
    labels = (np.arange(60) % 3 == 0).astype(int)
    found = tell_apart(noise(60) + labels[:, None], labels, alone(60))
    assert found.auroc[0] == pytest.approx(found.auroc[1])
    assert found == tell_apart(noise(60) + labels[:, None], labels, alone(60))


@pytest.mark.parametrize(
    ("labels", "groups", "options", "kind", "message"),
    [
        ([0, 1] * 10, alone(19), {}, ConfigError, "must be of one length"),
        ([0] * 20, alone(20), {}, DataError, "1 classes, the rarest of 20 groups: at least two classes of 5"),
        ([0, 1] * 10, ["a", "b"] * 10, {}, DataError, "2 classes, the rarest of 1 groups"),
        ([0, 1] * 10, alone(20), {"folds": 1}, ConfigError, "at least 2 folds and 1 resample"),
        ([0, 1] * 10, alone(20), {"resamples": 0}, ConfigError, "at least 2 folds and 1 resample"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_in_one_line(labels, groups, options, kind, message):
    with pytest.raises(kind, match=message) as caught:
        tell_apart(noise(20), labels, groups, **options)
    assert "\n" not in str(caught.value)
