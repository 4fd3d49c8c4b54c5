import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_auroc, multilabel_auroc

from meddistill.data import IGNORE_INDEX
from meddistill.training.selection import AurocScore, DiceScore, selection_score


def test_each_task_has_its_score():
    kinds = {"segmentation": DiceScore, "classification": AurocScore, "multi_label": AurocScore}
    assert all(type(selection_score(task, 3)) is kind for task, kind in kinds.items())
    assert selection_score("segmentation", 3).column == "selection_dice"
    assert selection_score("multi_label", 3).column == "selection_auroc"


@pytest.mark.parametrize("several", [False, True])
def test_it_is_the_auroc_of_the_whole_split(several):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator)
    label = torch.randint(0, 2 if several else 3, (40, 3) if several else (40,), generator=generator)
    score = AurocScore(several=several)
    for part in range(0, 40, 7):
        score.update(logits[part : part + 7], label[part : part + 7])
    expected = (
        multilabel_auroc(logits.sigmoid(), label, num_labels=3)
        if several
        else multiclass_auroc(logits.softmax(1), label, num_classes=3)
    )
    assert score.value() == pytest.approx(float(expected), abs=1e-6)
    score.reset()
    assert math.isnan(score.value())


def test_unknown_labels_do_not_count():
    score = AurocScore(several=False)
    score.update(torch.tensor([[2.0, 0.0], [0.0, 2.0], [5.0, 0.0]]), torch.tensor([0, 1, IGNORE_INDEX]))
    assert score.value() == 1


def test_one_class_alone_has_none():
    score = AurocScore(several=False)
    score.update(torch.randn(3, 2), torch.zeros(3, dtype=torch.long))
    assert math.isnan(score.value())
