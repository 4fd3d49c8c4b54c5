"""Every corruption: pure, seeded, worse with severity, and refused where it makes no sense."""

from __future__ import annotations

import numpy as np
import pytest

from meddistill.data.phantom import PhantomSource
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import corruptions
from meddistill.evaluation.corruptions import CORRUPTIONS, GROUPS, case_seed, corrupt, corruptions_of

OWN = [name for group in ("ultrasound", "mr", "general") for name in GROUPS[group]]
VOLUMES = [name for name, kind in CORRUPTIONS.items() if 3 in kind.dims]
LIGHT_OR_DARK = ("fog", "frost", "snow", "glass_blur")
"""ImageNet-C's own severities of these are not in the order of their mean change."""


def phantom(*size: int) -> np.ndarray:
    source = PhantomSource(1, size=size)
    return source.read_image(source.cases[0]).astype(np.float32) / 255


@pytest.fixture(scope="module")
def image():
    return phantom(48, 64)


def changes(image: np.ndarray, name: str, seeds: int = 3) -> list[float]:
    """Mean absolute change at each severity, over some seeds."""
    made = [[corrupt(image, name, severity, seed=seed) for seed in range(seeds)] for severity in range(1, 6)]
    return [float(np.mean([np.abs(one - image).mean() for one in row])) for row in made]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_a_pure_function_of_image_severity_and_seed(name, image):
    before, state = image.copy(), np.random.get_state()[1].copy()
    made = corrupt(image, name, 3, seed=5)
    np.random.random(7)  # what others draw from the global generator must not matter
    again = corrupt(image, name, 3, seed=5)
    np.random.seed(0)
    assert made.shape == image.shape
    assert made.dtype == np.float32
    assert 0 <= made.min() <= made.max() <= 1
    np.testing.assert_array_equal(made, again)
    np.testing.assert_array_equal(image, before)
    assert np.abs(made - image).mean() > 1e-3
    corrupt(image, name, 1, seed=1)
    np.random.set_state(("MT19937", state, 624))
    corrupt(image, name, 1, seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in LIGHT_OR_DARK])
def test_more_severity_changes_more(name, image):
    found = changes(image, name)
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_suffer_the_same(name):
    volume = phantom(32, 32, 32)
    found = changes(volume, name, seeds=2)
    assert found == sorted(found)
    assert corrupt(volume, name, 2, seed=0).shape == volume.shape


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in ("speckle", "low_dose_noise")])
def test_colour_images_keep_their_channels(name, image):
    assert corrupt(np.repeat(image, 3, axis=0), name, 2, seed=0).shape == (3, 48, 64)


def test_the_seed_of_a_case_is_its_own():
    seeds = {case_seed(seed, name, case) for seed in (0, 1) for name in ("fog", "snow") for case in "abc"}
    assert len(seeds) == 12


def test_names_groups_and_all():
    assert len(CORRUPTIONS) == 24
    assert len(GROUPS["imagenet-c"]) == 15
    assert [kind.name for kind in corruptions_of(["mr", "fog", "mr"], dims=2)] == ["fog", *GROUPS["mr"]]
    assert len(corruptions_of(["all"], dims=2)) == 24
    assert [kind.name for kind in corruptions_of(["all"], dims=3)] == VOLUMES


@pytest.mark.parametrize(
    ("asked", "dims", "error", "said"),
    [
        (["fogg"], 2, ConfigError, "did you mean 'fog'?"),
        (["imagenet-c"], 3, DataError, "gaussian_noise corrupts 2D images, and these are 3D; leave it out"),
        (["shadow"], 3, DataError, "shadow corrupts 2D"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked, dims, error, said):
    with pytest.raises(error, match=r"^[^\n]*$") as caught:
        corruptions_of(asked, dims=dims)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "severity", "error", "said"),
    [
        (lambda x: x, 6, ConfigError, "numbers from 1 to 5"),
        (lambda x: x * 2, 1, DataError, "values outside 0..1"),
        (lambda x: x * np.nan, 1, DataError, "values outside 0..1"),
        (lambda x: x[None], 1, DataError, "these are 3D"),
        (lambda x: x[:, :31], 1, DataError, "at least 32 pixels"),
        (lambda x: np.repeat(x, 2, 0), 1, DataError, "1 or 3 channels"),
    ],
)
def test_an_image_that_does_not_suit_is_refused(change, severity, error, said, image):
    with pytest.raises(error, match=said):
        corrupt(change(image), "contrast", severity, seed=0)


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(corruptions.imagenet_c, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'meddistill\[robustness\]'"):
        corruptions_of(["fog"], dims=2)
    assert [kind.name for kind in corruptions_of(["mr"], dims=2)] == list(GROUPS["mr"])
