import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.errors import DataError
from meddistill.evaluation import (
    dice_score,
    expected_calibration_error,
    hausdorff95,
    iou_score,
    normalised_surface_dice,
    score_case,
    score_cases,
)

NAMES = ("background", "kidney", "tumour")


def batches(count, size=2, shape=(1, 8, 8), classes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    for start in range(0, count, size):
        ids = [f"case-{index}" for index in range(start, min(start + size, count))]
        label = torch.randint(classes, (len(ids), *shape[1:]), generator=rng)
        label[:, 0, 0] = IGNORE_INDEX
        yield {
            "image": torch.rand(len(ids), *shape, generator=rng),
            "label": label,
            "index": torch.arange(start, start + len(ids)),
            "case_id": ids,
        }


def cases(count):
    return {f"case-{i}": Case(f"case-{i}", group=f"p{i // 2}", stratum="benign") for i in range(count)}


def network(classes=3):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, classes, 1)
    )


def test_rows_hold_what_the_single_scores_say():
    torch.manual_seed(0)
    logits, label = torch.randn(3, 9, 7) * 2, torch.randint(3, (9, 7))
    label[:2] = IGNORE_INDEX
    rows = score_case(logits, label, class_names=NAMES, spacing=(2.0, 0.5))
    prediction = logits.argmax(0)[None]
    assert [row["class"] for row in rows] == ["kidney", "tumour"]
    for name, score in (("dice", dice_score), ("iou", iou_score)):
        np.testing.assert_allclose(
            [row[name] for row in rows], score(prediction, label[None], num_classes=3)[0]
        )
    hd95 = hausdorff95(prediction, label[None], num_classes=3, spacing=(2.0, 0.5))
    np.testing.assert_allclose([row["hd95"] for row in rows], hd95[0])
    nsd = normalised_surface_dice(prediction, label[None], num_classes=3, spacing=(2.0, 0.5), tolerance=2.0)
    np.testing.assert_allclose([row["nsd"] for row in rows], nsd[0])
    known = label != IGNORE_INDEX
    for row in rows:
        assert row["unit"] == "mm"
        assert row["pixels"] == 49
        assert row["nll"] == pytest.approx(F.cross_entropy(logits[None], label[None]).item())
        assert row["ece"] == pytest.approx(
            expected_calibration_error(logits[None].softmax(1), label[None]), rel=1e-6
        )
        truth = F.one_hot(label[known], 3)
        brier = (logits.softmax(0).movedim(0, -1)[known] - truth).square().sum(-1).mean().item()
        assert row["brier"] == pytest.approx(brier)
        assert row["label_pixels"] == (label == NAMES.index(row["class"])).sum()
        assert row["predicted_pixels"] == (prediction[0][known] == NAMES.index(row["class"])).sum()


@pytest.mark.parametrize(
    ("predicted", "labelled", "state", "dice", "hd95"),
    [
        (True, True, "ok", 1.0, 0.0),
        (False, False, "both_empty", math.nan, math.nan),
        (False, True, "missed", 0.0, math.hypot(4, 4)),
        (True, False, "false_alarm", 0.0, math.hypot(4, 4)),
    ],
)
def test_states(predicted, labelled, state, dice, hd95):
    label = torch.zeros(4, 4, dtype=torch.long)
    label[1, 1] = int(labelled)
    logits = torch.stack([torch.zeros(4, 4), torch.full((4, 4), -5.0)])
    logits[1, 1, 1] = 5.0 if predicted else -5.0
    [row] = score_case(logits, label, class_names=("background", "lesion"))
    assert row["state"] == state
    np.testing.assert_equal([row["dice"], row["hd95"]], [dice, hd95])


def test_volumes_are_scored_too():
    torch.manual_seed(2)
    rows = score_case(torch.randn(3, 4, 5, 6), torch.randint(3, (4, 5, 6)), class_names=NAMES)
    assert [row["pixels"] for row in rows] == [120, 120]
    assert all(0 < row["dice"] < 1 for row in rows)


def test_a_case_without_labels_has_no_calibration():
    label = torch.full((3, 3), IGNORE_INDEX)
    [row] = score_case(torch.randn(2, 3, 3), label, class_names=("background", "lesion"))
    assert row["pixels"] == 0
    assert row["state"] == "both_empty"
    assert math.isnan(row["nll"])
    assert math.isnan(row["ece"])
    assert math.isnan(row["brier"])


def test_confident_mistakes_do_not_overflow():
    logits = torch.stack([torch.full((2, 2), 500.0), torch.full((2, 2), -500.0)])
    [row] = score_case(logits, torch.ones(2, 2, dtype=torch.long), class_names=("background", "lesion"))
    assert row["nll"] == pytest.approx(1000.0)
    assert row["brier"] == pytest.approx(2.0)


def test_the_run_over_a_loader_does_not_depend_on_the_batch_size():
    model = network()
    data = next(batches(5, size=5))
    singles = [{key: value[i : i + 1] for key, value in data.items()} for i in range(5)]
    together, bins = score_cases(model, [data], class_names=NAMES, cases=cases(5))
    apart, other_bins = score_cases(model, singles, class_names=NAMES, cases=cases(5), progress=False)
    assert len(together) == 10
    assert together["case"].tolist() == [f"case-{i}" for i in range(5) for _ in range(2)]
    assert together["group"].tolist() == [f"p{i // 2}" for i in range(5) for _ in range(2)]
    for name in ("dice", "hd95", "ece", "nll", "label_pixels"):
        np.testing.assert_allclose(apart[name], together[name], rtol=1e-5)
    assert bins.total == other_bins.total == 5 * 63
    assert bins.ece() == pytest.approx(other_bins.ece())


def test_the_network_is_used_in_evaluation_mode_and_put_back():
    model = network().train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    score_cases(model, batches(4), class_names=NAMES, cases=cases(4))
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_failing_network_is_put_back_too():
    model = network().train()
    with pytest.raises(DataError):
        score_cases(model, batches(2), class_names=("a", "b"), cases=cases(2))
    assert model.training


def test_spacings_belong_to_cases():
    spacings = {"case-0": (1.0, 1.0), "case-1": (3.0, 3.0)}
    scores, _ = score_cases(network(), batches(2), class_names=NAMES, cases=cases(2), spacings=spacings)
    pixels, _ = score_cases(network(), batches(2), class_names=NAMES, cases=cases(2))
    np.testing.assert_allclose(scores["hd95"] / pixels["hd95"], [1, 1, 3, 3])
    assert set(scores["unit"]) == {"mm"}
    assert set(pixels["unit"]) == {"px"}


def test_a_case_without_a_group_is_its_own_group():
    scores, _ = score_cases(network(), batches(1), class_names=NAMES, cases={"case-0": Case("case-0")})
    assert scores["group"].tolist() == ["case-0", "case-0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits[:, :2], r"case case-0: logits \(2, 8, 8\) do not fit 3 classes"),
        (lambda logits: logits[..., :4], r"case case-0: logits \(3, 8, 4\)"),
        (lambda logits: logits * math.nan, "case case-0: the logits hold NaN"),
    ],
)
def test_logits_that_cannot_be_scored_name_the_case(change, message):
    model = network().eval()
    with pytest.raises(DataError, match=message):
        score_cases(lambda image: change(model(image)), batches(2), class_names=NAMES, cases=cases(2))


def test_labels_out_of_range_and_unknown_cases_are_named():
    with pytest.raises(DataError, match="case case-0: label has values"):
        score_cases(network(), batches(2, classes=9), class_names=NAMES, cases=cases(2))
    with pytest.raises(DataError, match="case case-1 is not among the split"):
        score_cases(network(), batches(2), class_names=NAMES, cases=cases(1))
