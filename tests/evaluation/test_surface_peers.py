"""Equal to MONAI and, where it defines the same, to medpy, on whatever masks there may be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from meddistill.data.case import IGNORE_INDEX
from meddistill.evaluation import dice_score, iou_score, surface_distances
from meddistill.evaluation.boundary import boundary_distances

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:monai"),
    pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class:UserWarning"),
]

CLASSES = 3
KINDS = ("random", "empty", "full", "single", "border", "sparse")


def drawn(kind, shape, rng):
    """A label map (*S) of one kind."""
    values = np.zeros(shape, np.int64)
    if kind == "random":
        values = rng.integers(0, CLASSES, shape)
    elif kind == "full":
        values[:] = rng.integers(1, CLASSES)
    elif kind == "single":
        values[tuple(rng.integers(0, shape))] = rng.integers(1, CLASSES)
    elif kind == "border":
        values[tuple(slice(0, size // 2 + 1) for size in shape)] = 1
        values[tuple(slice(size // 2 + 1, None) for size in shape)] = 2
    elif kind == "sparse":
        values[rng.random(shape) < 0.08] = rng.integers(1, CLASSES)
    return values


@st.composite
def problems(draw):
    """Prediction and label (1, *S), the size of their pixels or None, and a tolerance."""
    shape = tuple(draw(st.lists(st.integers(2, 10), min_size=2, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prediction, label = (
        torch.from_numpy(drawn(draw(st.sampled_from(KINDS)), shape, rng))[None] for _ in "ab"
    )
    if draw(st.booleans()):
        label[torch.from_numpy(rng.random((1, *shape)) < 0.1)] = IGNORE_INDEX
    sizes = st.tuples(*(st.sampled_from([0.5, 0.7, 1.0, 3.0]) for _ in shape))
    return prediction, label, draw(st.none() | sizes), draw(st.sampled_from([0.0, 0.7, 1.0, 1.4, 2.0]))


def known_one_hot(prediction, label):
    """Both maps as (1, K, *S), with pixels of unknown label in no class."""
    known = (label != IGNORE_INDEX)[:, None]
    whole = (one_hot(values.clamp(min=0), CLASSES).movedim(-1, 1) for values in (prediction, label))
    return [values * known for values in whole]


@settings(max_examples=40)
@given(problem=problems())
def test_equals_monai_on_any_masks(problem):
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_iou,
        compute_surface_dice,
    )

    prediction, label, spacing, tolerance = problem
    ours = surface_distances(prediction, label, num_classes=CLASSES, spacing=spacing, tolerance=tolerance)
    maps = known_one_hot(prediction, label)
    tolerances = [tolerance] * (CLASSES - 1)
    nsd = compute_surface_dice(*maps, class_thresholds=tolerances, spacing=spacing)
    np.testing.assert_allclose(ours.nsd, nsd, rtol=1e-6)
    found = torch.stack([values[:, 1:].flatten(2).any(-1) for values in maps]).all(0)
    hd95 = compute_hausdorff_distance(*maps, percentile=95, spacing=spacing)
    asd = compute_average_surface_distance(*maps, symmetric=True, spacing=spacing)
    np.testing.assert_allclose(ours.hd95[found], hd95[found], rtol=1e-5)
    np.testing.assert_allclose(ours.asd[found], asd[found], rtol=1e-5)
    for score, reference in ((dice_score, compute_dice), (iou_score, compute_iou)):
        either = score(prediction, label, num_classes=CLASSES)
        expected = reference(*maps, include_background=False, ignore_empty=False)
        np.testing.assert_allclose(either.nan_to_num(1), expected, rtol=1e-6)


@settings(max_examples=40)
@given(problem=problems())
def test_the_distances_are_those_of_medpy(problem):
    """Its `assd` is our ASD since medpy 0.5; its `hd95` takes the percentile of both ways at once, which is
    another definition. So the distances themselves are compared."""
    binary = pytest.importorskip("medpy.metric.binary")
    prediction, label, spacing, _ = problem
    sampling = spacing or (1.0,) * (label.ndim - 1)
    masks = [values[0, 1:].numpy() > 0 for values in known_one_hot(prediction, label)]
    for predicted, labelled in zip(*masks, strict=True):
        if not (predicted.any() and labelled.any()):
            continue
        there, back = boundary_distances(predicted, labelled, sampling)
        assert there.mean() == pytest.approx(binary.asd(predicted, labelled, sampling))
        assert back.mean() == pytest.approx(binary.asd(labelled, predicted, sampling))
        assert max(there.max(), back.max()) == pytest.approx(binary.hd(predicted, labelled, sampling))
        pooled = np.percentile(np.concatenate([there, back]), 95)
        assert pooled == pytest.approx(binary.hd95(predicted, labelled, sampling))
        assd = np.concatenate([there, back]).mean()
        assert assd == pytest.approx(binary.assd(predicted, labelled, sampling))
