"""What an examination gathers, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from meddistill.data.case import IGNORE_INDEX, Case
from meddistill.evaluation import expected_calibration_error
from meddistill.evaluation.examination import Examination
from tests.evaluation.answer_maps import random_logits

CASES = (Case("a", group="p"), Case("b", group="p", stratum="sick"), Case("c"))


def examined(
    logits: Tensor, label: Tensor, task: str = "segmentation", measures: tuple[str, ...] = ("entropy",)
) -> Examination:
    found = Examination(task, logits.shape[1], measures)  # type: ignore[arg-type]
    maps = found.look(logits, logits / 2, [logits / 2], label)
    for index in range(len(logits)):
        found.add(CASES[index], maps.of(index), label[index])
    return found


def right_but(wrong: int) -> tuple[Tensor, Tensor]:
    """Three maps of 8 x 8 with a lesion of 16 pixels; the last misses `wrong` of them and is unsure there."""
    label = torch.zeros(3, 8, 8, dtype=torch.long)
    label[:, 2:6, 2:6] = 1
    logits = torch.where(label == 1, 6.0, -6.0)
    flat = logits[2].view(-1)
    flat[label[2].view(-1).nonzero().flatten()[:wrong]] = -0.5
    return torch.stack([-logits / 2, logits / 2], dim=1), label


def test_cases_are_scored_and_the_unsure_one_is_the_wrong_one():
    found = examined(*right_but(12))
    scores = [finding.score for finding in found.findings]
    assert scores == pytest.approx([1, 1, 2 * 4 / (4 + 16)])
    assert [finding.wrong for finding in found.findings] == [False, False, True]
    ranking = found.cases("entropy")
    assert ranking.found(np.ones(3)).auroc == 1
    pixels = found.pixels("entropy")
    assert pixels.counts.sum(axis=1).tolist() == [64, 64, 64]
    assert pixels.wrong.sum(axis=1).tolist() == [0, 0, 12]
    assert pixels.found(np.ones(3)).auroc == 1
    assert found.groups.tolist() == ["p", "p", "c"]
    row = list(found.rows())[2]
    assert (row["case"], row["group"], row["wrong"]) == ("c", "c", 1)


def test_before_and_after_are_those_of_both_logits():
    logits, label = random_logits(0, (3, 3, 5, 6), 4.0)
    found = examined(logits, label)
    for tally, scaled in ((found.before, logits), (found.after, logits / 2)):
        expected = expected_calibration_error(scaled.softmax(1), label)
        assert tally.to_json()["ece"] == pytest.approx(expected, abs=1e-6)


def test_what_is_neither_there_nor_predicted_is_right_and_what_is_unknown_is_left_out():
    logits, label = right_but(0)
    logits[0], label[0] = logits[0].flip(0).abs() * torch.tensor([1.0, -1.0]).view(2, 1, 1), 0
    label[1] = IGNORE_INDEX
    found = examined(logits, label)
    assert [(finding.case.id, finding.score) for finding in found.findings] == [("a", 1.0), ("c", 1.0)]
    assert found.before.pixels == 128


def test_classes_of_whole_images():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 2.0]])
    found = examined(logits, torch.tensor([0, 1, 2]), "classification", ("entropy", "disagreement"))
    assert [finding.wrong for finding in found.findings] == [False, True, False]
    assert found.cases("entropy").found(np.ones(3)).auroc == 1
    assert not any(finding.pixels for finding in found.findings)


def test_labels_that_do_not_exclude_each_other():
    logits = torch.tensor([[4.0, -4.0], [4.0, 0.2], [-4.0, -4.0]])
    label = torch.tensor([[1, 0], [1, 0], [IGNORE_INDEX, 0]])
    found = examined(logits, label, "multi_label")
    assert [finding.score for finding in found.findings] == [1.0, 0.5, 1.0]
    assert [finding.wrong for finding in found.findings] == [False, True, False]
    assert found.before.pixels == 5
    assert found.cases("entropy").found(np.ones(3)).auroc == 1
