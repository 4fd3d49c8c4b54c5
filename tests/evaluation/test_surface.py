import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import (
    average_surface_distance,
    dice_score,
    hausdorff95,
    normalised_surface_dice,
    surface_distances,
)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")


def blobs(shape, seed, num_classes=3):
    """Random maps with a few boxes of every class, so that surfaces have interiors."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((2, 2, *shape), np.int64)
    for values in maps.reshape(-1, *shape):
        for label in range(1, num_classes):
            for _ in range(2):
                corner = [int(rng.integers(0, size - 3)) for size in shape]
                box = tuple(slice(low, low + int(rng.integers(2, 7))) for low in corner)
                values[box] = label
    return torch.from_numpy(maps[0]), torch.from_numpy(maps[1])


@pytest.fixture(scope="module")
def monai_metrics():
    import monai.metrics

    return monai.metrics


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((24, 17), None), ((24, 17), (0.5, 2.0)), ((14, 9, 11), None), ((14, 9, 11), (1.0, 0.7, 3.0))],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_monai(monai_metrics, shape, spacing, seed):
    prediction, label = blobs(shape, seed)
    ours = surface_distances(prediction, label, num_classes=3, spacing=spacing)
    one_hot = [torch.nn.functional.one_hot(values, 3).movedim(-1, 1) for values in (prediction, label)]
    hd95 = monai_metrics.compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing)
    asd = monai_metrics.compute_average_surface_distance(*one_hot, symmetric=True, spacing=spacing)
    np.testing.assert_allclose(ours.hd95, hd95, rtol=1e-5)
    np.testing.assert_allclose(ours.asd, asd, rtol=1e-5)
    assert torch.equal(hausdorff95(prediction, label, num_classes=3, spacing=spacing), ours.hd95)
    assert torch.equal(average_surface_distance(prediction, label, num_classes=3, spacing=spacing), ours.asd)


def test_background_column_equals_monai(monai_metrics):
    prediction, label = blobs((20, 20), seed=5)
    one_hot = [torch.nn.functional.one_hot(values, 3).movedim(-1, 1) for values in (prediction, label)]
    expected = monai_metrics.compute_hausdorff_distance(*one_hot, percentile=95, include_background=True)
    result = hausdorff95(prediction, label, num_classes=3, include_background=True)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_two_points_are_as_far_apart_as_they_are():
    prediction, label = torch.zeros(2, 1, 10, 10, dtype=torch.long)
    prediction[0, 1, 1] = label[0, 4, 5] = 1
    assert hausdorff95(prediction, label, num_classes=2).item() == 5.0
    assert hausdorff95(prediction, label, num_classes=2, spacing=(2, 2)).item() == 10.0


def test_equal_masks_have_distance_zero():
    label = blobs((12, 12), seed=6)[1]
    assert surface_distances(label, label, num_classes=3).hd95.max() == 0
    assert surface_distances(label, label, num_classes=3).asd.max() == 0
    assert normalised_surface_dice(label, label, num_classes=3, tolerance=0).min() == 1


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [("diagonal", math.hypot(6, 16)), ("inf", math.inf), (7.5, 7.5), ("nan", math.nan)],
)
def test_missed_and_invented_structures_are_charged(policy, expected, swap):
    empty, full = torch.zeros(1, 6, 8, dtype=torch.long), torch.ones(1, 6, 8, dtype=torch.long)
    pair = (full, empty) if swap else (empty, full)
    found = surface_distances(*pair, num_classes=2, spacing=(1, 2), one_empty=policy)
    np.testing.assert_equal([part.item() for part in found], [expected, expected, 0.0])


def test_both_empty_is_undefined_unless_told_otherwise():
    empty = torch.zeros(1, 6, 8, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hausdorff95(empty, empty, num_classes=2).isnan().all()
        assert normalised_surface_dice(empty, empty, num_classes=2).isnan().all()
    assert hausdorff95(empty, empty, num_classes=2, both_empty=0.0).item() == 0.0
    assert normalised_surface_dice(empty, empty, num_classes=2, both_empty=1.0).item() == 1.0


@settings(max_examples=30)
@given(data=st.data(), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_missing_a_structure_is_never_better_than_the_worst_segmentation(data, shape):
    label, prediction = (torch.zeros(1, *shape, dtype=torch.long) for _ in range(2))
    for values in (label, prediction):
        for _ in range(data.draw(st.integers(1, 4))):
            values[0, data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = 1
    missed = torch.zeros_like(label)
    assert hausdorff95(missed, label, num_classes=2) > hausdorff95(prediction, label, num_classes=2)
    assert dice_score(missed, label, num_classes=2) <= dice_score(prediction, label, num_classes=2)


def test_ignored_pixels_belong_to_no_structure():
    label = torch.zeros(1, 10, 10, dtype=torch.long)
    label[0, 2:5, 2:5] = 1
    prediction = label.clone()
    prediction[0, 8, 8] = 1
    assert hausdorff95(prediction, label, num_classes=2) > 0
    label[0, 8:] = IGNORE_INDEX
    assert hausdorff95(prediction, label, num_classes=2).item() == 0


def test_distances_do_not_depend_on_where_the_structures_lie():
    prediction, label = blobs((16, 16), seed=7)
    shifted = [torch.nn.functional.pad(values, (9, 1, 4, 30)) for values in (prediction, label)]
    for here, there in zip(
        surface_distances(prediction, label, num_classes=3),
        surface_distances(*shifted, num_classes=3),
        strict=True,
    ):
        torch.testing.assert_close(here, there)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (1.0, 1.0, 1.0)])
def test_spacing_that_does_not_fit_is_refused(spacing):
    label = torch.zeros(1, 6, 8, dtype=torch.long)
    with pytest.raises(ConfigError, match="2 positive numbers"):
        hausdorff95(label, label, num_classes=2, spacing=spacing)


def test_a_boundary_is_right_up_to_the_tolerance_and_each_class_may_have_its_own():
    prediction, label = torch.zeros(2, 1, 12, 12, dtype=torch.long)
    for value, shift in ((1, 1), (2, 3)):
        label[0, 5 * value - 4, 2:8] = value
        prediction[0, 5 * value - 4 + shift, 2:8] = value
    nsd = {
        str(tolerance): normalised_surface_dice(prediction, label, num_classes=3, tolerance=tolerance)[
            0
        ].tolist()
        for tolerance in (0.9, 1, 2, 3, [0, 3], [1, 2])
    }
    assert nsd == {
        "0.9": [0, 0],
        "1": [1, 0],
        "2": [1, 0],
        "3": [1, 1],
        "[0, 3]": [0, 1],
        "[1, 2]": [1, 0],
    }
    assert torch.equal(
        normalised_surface_dice(prediction, label, num_classes=3),
        normalised_surface_dice(prediction, label, num_classes=3, tolerance=2.0),
    )


@pytest.mark.parametrize("size", [0.1, 0.3, 0.7, float(np.float32(0.3)), float(np.float32(0.7))])
def test_a_distance_of_the_tolerance_is_within_it_however_the_spacing_is_rounded(size):
    prediction, label = torch.zeros(2, 1, 9, 9, dtype=torch.long)
    prediction[0, 1, 4] = label[0, 4, 4] = 1
    tolerance = round(3 * size, 4)
    found = normalised_surface_dice(
        prediction, label, num_classes=2, spacing=(size, size), tolerance=tolerance
    )
    assert found.item() == 1


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf, [1.0], [1.0, 1.0, 1.0], [1.0, -1.0]])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance):
    label = torch.zeros(1, 6, 8, dtype=torch.long)
    with pytest.raises(ConfigError, match="one distance of 0 or more, or 2"):
        normalised_surface_dice(label, label, num_classes=3, tolerance=tolerance)


def test_unknown_policy_and_label_values_are_refused():
    label = torch.zeros(1, 6, 8, dtype=torch.long)
    with pytest.raises(ConfigError, match="did you mean 'diagonal'"):
        hausdorff95(label, label, num_classes=2, one_empty="diagonl")
    with pytest.raises(DataError, match=r"2\.\.2"):
        hausdorff95(label, label + 2, num_classes=2)
