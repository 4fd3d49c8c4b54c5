from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meddistill.data.case import Case, Source
from meddistill.data.phantom import PhantomSource, phantom_case, write_phantom
from meddistill.errors import ConfigError, DataError


def contrast(image: np.ndarray, label: np.ndarray) -> float:
    """Mean grey level of a rim outside the lesion minus that of the lesion."""
    from scipy import ndimage

    inside = label.astype(bool)
    rim = ndimage.binary_dilation(inside, iterations=4) & ~inside
    return float(image[0][rim].mean() - image[0][inside].mean())


@pytest.mark.parametrize("size", [(128, 128), (64, 96), (33, 40), (32, 48, 40)])
def test_shapes_types_and_values(size):
    image, label = phantom_case(3, size=size)
    assert image.shape == (1, *size)
    assert image.dtype == np.uint8
    assert label.shape == size
    assert label.dtype == np.int16
    assert set(np.unique(label)) == {0, 1}
    assert image.max() - image.min() > 100


@settings(max_examples=15)
@given(st.integers(0, 2**63), st.sampled_from([0.0, 0.3, 1.0, None]), st.sampled_from([0, 1, 3, None]))
def test_same_arguments_give_the_same_values(seed, clarity, lesions):
    first = phantom_case(seed, size=(48, 40), clarity=clarity, lesions=lesions)
    second = phantom_case(seed, size=(48, 40), clarity=clarity, lesions=lesions)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert first[1].any() == (lesions != 0)


def test_different_seeds_differ():
    images = {phantom_case(seed, size=(48, 48))[0].tobytes() for seed in range(20)}
    assert len(images) == 20


def test_clarity_grades_the_contrast_of_the_same_lesion():
    seeds = range(30)
    means = []
    for clarity in (0.0, 0.35, 0.7, 1.0):
        pairs = [phantom_case(seed, clarity=clarity, lesions=1) for seed in seeds]
        means.append(np.mean([contrast(image, label) for image, label in pairs]))
    assert means == sorted(means)
    assert 2 < means[0] < 20, "the faintest lesions are barely darker than what surrounds them"
    assert means[-1] > 35


def test_clarity_changes_the_image_but_not_the_outline():
    crisp, fuzzy = (phantom_case(11, clarity=clarity, lesions=1) for clarity in (1.0, 0.1))
    np.testing.assert_array_equal(crisp[1], fuzzy[1])
    assert (crisp[0] != fuzzy[0]).any()


def test_tissue_darkens_with_depth_and_speckle_is_correlated():
    images = np.stack([phantom_case(seed, lesions=0)[0][0] for seed in range(20)]).astype(float)
    assert images[:, 100:].mean() < images[:, 30:60].mean() - 15
    detail = images - images.mean(axis=0)
    lateral = np.corrcoef(detail[:, 40:60, :-1].ravel(), detail[:, 40:60, 1:].ravel())[0, 1]
    axial = np.corrcoef(detail[:, 40:60].ravel(), detail[:, 41:61].ravel())[0, 1]
    assert lateral > axial > 0.2


def test_lesion_area_is_a_small_share_of_the_image():
    shares = [phantom_case(seed)[1].mean() for seed in range(40)]
    assert 0.015 < np.median(shares) < 0.15
    assert max(shares) < 0.35


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0, "size": (128,)}, "size is (128,)"),
        ({"seed": 0, "size": (16, 128)}, "at least 32"),
        ({"seed": 0, "clarity": 1.5}, "clarity is 1.5"),
        ({"seed": 0, "clarity": float("nan")}, "clarity is nan"),
        ({"seed": 0, "lesions": -2}, "lesions is -2"),
    ],
)
def test_values_out_of_range_are_refused(arguments, words):
    with pytest.raises(ConfigError) as caught:
        phantom_case(**arguments)
    assert words in str(caught.value)


def test_source_is_a_source_and_grades_its_cases():
    source = PhantomSource(200, size=(32, 32), normal_fraction=0.15)
    assert isinstance(source, Source)
    strata = [case.stratum for case in source.cases]
    assert strata.count("normal") == pytest.approx(30, abs=1)
    assert strata.count("clear") == pytest.approx(85, abs=1)
    clarities = [c for c in map(source.clarity, source.cases) if c is not None]
    np.testing.assert_allclose(np.quantile(clarities, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    assert len({case.id for case in source.cases}) == 200
    assert all(case.group == case.id for case in source.cases)


def test_case_i_does_not_depend_on_order_or_number():
    short, long = PhantomSource(5, size=(32, 32), seed=4), PhantomSource(50, size=(32, 32), seed=4)
    assert short.cases == long.cases[:5]
    backwards = [long.read_image(case) for case in reversed(long.cases[:5])][::-1]
    for case, image in zip(short.cases, backwards, strict=True):
        np.testing.assert_array_equal(short.read_image(case), image)


def test_other_seed_gives_other_cases():
    a, b = PhantomSource(4, size=(32, 32), seed=0), PhantomSource(4, size=(32, 32), seed=1)
    assert (a.read_image(a.cases[0]) != b.read_image(b.cases[0])).any()


def test_normal_cases_have_empty_labels_and_others_do_not():
    source = PhantomSource(30, size=(32, 32), normal_fraction=0.4)
    for case in source.cases:
        assert source.read_label(case).any() == (case.stratum != "normal")


@pytest.mark.parametrize(("fraction", "stratum"), [(0.0, "normal"), (1.0, "clear")])
def test_extreme_shares(fraction, stratum):
    source = PhantomSource(12, size=(32, 32), normal_fraction=fraction)
    assert stratum not in {case.stratum for case in source.cases}


def test_foreign_case_is_refused():
    with pytest.raises(DataError, match="stranger is no case"):
        PhantomSource(2, size=(32, 32)).read_image(Case(id="stranger"))


@pytest.mark.parametrize(
    "options", [{"num_cases": 0}, {"normal_fraction": -0.1}, {"seed": -3}, {"size": (8, 8)}]
)
def test_source_refuses_values_out_of_range(options):
    with pytest.raises(ConfigError):
        PhantomSource(**options)


def test_written_files_hold_the_same_pixels(tmp_path: Path):
    source = PhantomSource(9, size=(32, 40), normal_fraction=0.3)
    folder = write_phantom(tmp_path / "data" / "phantom", source)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert names == {f"{case.id}{end}" for case in source.cases for end in (".png", "_mask.png")}
    for case in source.cases:
        image = np.asarray(Image.open(folder / f"{case.id}.png"))
        mask = np.asarray(Image.open(folder / f"{case.id}_mask.png"))
        np.testing.assert_array_equal(image, source.read_image(case)[0])
        np.testing.assert_array_equal(mask, source.read_label(case) * 255)


def test_writing_refuses_three_dimensions_and_existing_folders(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be written as PNG"):
        write_phantom(tmp_path / "volume", PhantomSource(2, size=(32, 32, 32)))
    with pytest.raises(DataError, match="exists already"):
        write_phantom(tmp_path, PhantomSource(2, size=(32, 32)))
    assert list(tmp_path.iterdir()) == []


def test_failed_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_phantom(tmp_path / "phantom", PhantomSource(2, size=(32, 32)))
    assert list(tmp_path.iterdir()) == []
