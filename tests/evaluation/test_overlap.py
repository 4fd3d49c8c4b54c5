import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError
from meddistill.evaluation import (
    dice_score,
    iou_score,
    overlap_counts,
    precision_score,
    recall_score,
)
from meddistill.evaluation.overlap import check_maps

SCORES = [dice_score, iou_score, precision_score, recall_score]
MONAI_NAMES = {
    dice_score: "f1 score",
    iou_score: "threat score",
    precision_score: "precision",
    recall_score: "sensitivity",
}


def random_maps(shape, num_classes, seed):
    rng = torch.Generator().manual_seed(seed)
    prediction = torch.randint(num_classes, shape, generator=rng)
    return prediction, torch.randint(num_classes, shape, generator=rng)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", [(3, 7, 5), (2, 4, 5, 3)])
def test_equals_monai(score, shape):
    from monai.metrics import compute_confusion_matrix_metric, get_confusion_matrix

    prediction, label = random_maps(shape, 4, seed=1)
    result = score(prediction, label, num_classes=4, include_background=True)
    one_hot = [torch.nn.functional.one_hot(values, 4).movedim(-1, 1) for values in (prediction, label)]
    confusion = get_confusion_matrix(*one_hot)
    np.testing.assert_allclose(
        result, compute_confusion_matrix_metric(MONAI_NAMES[score], confusion), rtol=1e-6
    )
    np.testing.assert_array_equal(score(prediction, label, num_classes=4), result[:, 1:])


@pytest.mark.parametrize("score", SCORES)
def test_ignored_pixels_change_nothing(score):
    prediction, label = random_maps((2, 6, 6), 3, seed=2)
    known = score(prediction, label, num_classes=3)
    padded_label = torch.nn.functional.pad(label, (0, 3), value=IGNORE_INDEX)
    for filler in (0, 2, -100, 77):
        padded = torch.nn.functional.pad(prediction, (0, 3), value=filler)
        assert torch.equal(score(padded, padded_label, num_classes=3), known)


@pytest.mark.parametrize("score", SCORES)
def test_empty_masks_follow_the_policy(score):
    empty, full = torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 4, dtype=torch.long)
    assert math.isnan(score(empty, empty, num_classes=2).item())
    assert score(empty, empty, num_classes=2, both_empty=1.0).item() == 1.0
    assert score(empty, full, num_classes=2).item() == 0.0
    assert score(full, empty, num_classes=2).item() == 0.0


def test_a_case_without_any_labelled_pixel_is_both_empty():
    label = torch.full((1, 3, 3), IGNORE_INDEX)
    assert dice_score(torch.ones_like(label), label, num_classes=2).isnan().all()


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 5), size=st.integers(1, 6))
def test_dice_and_iou_are_two_views_of_one_thing(seed, classes, size):
    prediction, label = random_maps((2, size, size), classes, seed)
    dice = dice_score(prediction, label, num_classes=classes, both_empty=1.0)
    iou = iou_score(prediction, label, num_classes=classes, both_empty=1.0)
    torch.testing.assert_close(dice, 2 * iou / (1 + iou))
    torch.testing.assert_close(dice, dice_score(label, prediction, num_classes=classes, both_empty=1.0))
    assert ((dice >= 0) & (dice <= 1)).all()


def test_counts_of_all_classes_cover_every_labelled_pixel_once():
    prediction, label = random_maps((3, 9, 9), 4, seed=3)
    label[0, :2] = IGNORE_INDEX
    counts = overlap_counts(prediction, label, num_classes=4)
    labelled = (label != IGNORE_INDEX).sum(dim=(1, 2))
    assert torch.equal(counts.predicted.sum(dim=1), labelled)
    assert torch.equal(counts.labelled.sum(dim=1), labelled)
    assert (counts.both <= torch.minimum(counts.predicted, counts.labelled)).all()


@pytest.mark.parametrize("classes", [1, 2, 3, 30])
@pytest.mark.parametrize("shape", [(3, 9, 8), (2, 5, 4, 6)])
def test_counts_are_those_of_masks_block_by_block_and_with_many_classes(monkeypatch, classes, shape):
    monkeypatch.setattr("meddistill.evaluation.overlap._BLOCK", 50)
    prediction, label = random_maps(shape, classes, seed=6)
    label[0, 1] = IGNORE_INDEX
    counts = overlap_counts(prediction, label, num_classes=classes)
    for case, value in np.ndindex(shape[0], classes):
        predicted, labelled = (
            (prediction[case] == value) & (label[case] != IGNORE_INDEX),
            label[case] == value,
        )
        found = [int(part[case, value]) for part in counts]
        assert found == [int(mask.sum()) for mask in (predicted & labelled, predicted, labelled)]


@pytest.mark.parametrize("classes", [2, 3, 30])
@pytest.mark.parametrize("wrong", [-1, 30, 300])
@pytest.mark.parametrize("ignored", [False, True])
def test_one_wrong_value_anywhere_is_refused(classes, wrong, ignored):
    for position in (0, 1):
        maps = random_maps((2, 6, 6), classes, seed=7)
        if ignored:
            maps[1][0, :2] = IGNORE_INDEX
        maps[position][1, 5, 5] = wrong
        with pytest.raises(DataError, match=f"{('prediction', 'label')[position]} has values"):
            overlap_counts(*maps, num_classes=classes)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.bool])
def test_any_integer_type_gives_the_same(dtype):
    prediction, label = random_maps((2, 8, 8), 2, seed=4)
    expected = dice_score(prediction, label, num_classes=2)
    assert torch.equal(dice_score(prediction.to(dtype), label.to(dtype), num_classes=2), expected)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("wrong", [-1, -128, 2, 127])
def test_wrong_values_are_found_in_maps_of_any_type_and_any_order_in_memory(dtype, wrong):
    maps = [values.to(dtype).transpose(1, 2) for values in random_maps((2, 8, 6), 2, seed=4)]
    check_maps(*maps, 2)
    maps[1][1, 3, 5] = wrong
    with pytest.raises(DataError, match="label has values"):
        check_maps(*maps, 2)


def test_small_integer_types_do_not_overflow_with_many_cases():
    prediction, label = random_maps((40, 8, 8), 12, seed=5)
    expected = iou_score(prediction, label, num_classes=12)
    assert torch.equal(iou_score(prediction.to(torch.uint8), label.to(torch.int16), num_classes=12), expected)


@pytest.mark.parametrize(
    ("prediction", "label", "classes", "error", "message"),
    [
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 3).long(), 2, DataError, r"\(1, 2, 2\).*\(1, 2, 3\)"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), 2, DataError, "argmax"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 3), 2, DataError, "label has values 3..3"),
        (torch.full((1, 2, 2), 2), torch.zeros(1, 2, 2).long(), 2, DataError, "prediction has values 2..2"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), -1), 2, DataError, "label has values -1..-1"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2).long(), 0, ConfigError, "num_classes is 0"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(prediction, label, classes, error, message):
    with pytest.raises(error, match=message):
        dice_score(prediction, label, num_classes=classes)


def test_smoothing_keeps_double_precision():
    prediction, label = torch.zeros(1, 256, 256, dtype=torch.long), torch.ones(1, 256, 256, dtype=torch.long)
    prediction[:, :100] = 1
    dice = dice_score(prediction, label, num_classes=2, smooth=1e-4).item()
    assert dice == pytest.approx((2 * 25600 + 1e-4) / (25600 + 65536 + 1e-4), rel=1e-14)


@pytest.mark.realdata
def test_parity_with_the_released_pcd_code():
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("MEDDISTILL_REFERENCE", root.parent / "shared" / "reference"))
    if not (folder / "pcd_official.json").is_file():
        pytest.skip(f"no reference numbers in {folder}")
    for case in json.loads((folder / "pcd_official.json").read_text()):
        prediction = torch.tensor(case["student_logits"]).argmax(dim=1)
        label, classes = torch.tensor(case["labels"]), case["shape"][1]
        outputs = case["outputs"]
        dice = dice_score(prediction, label, num_classes=classes, both_empty=1.0, smooth=1e-4)
        np.testing.assert_allclose(dice, outputs["dice_per_image_per_class"], rtol=1e-6)
        iou = iou_score(prediction, label, num_classes=classes, both_empty=1.0)
        np.testing.assert_allclose(iou, outputs["iou_per_image_per_class"], rtol=1e-6)
