"""Whose answers each way mixes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.training.uncertainty import Question
from meddistill.training.ways import WAYS, Asked, way_of

STUDENT = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)).eval()


@pytest.mark.parametrize(
    ("kind", "answers", "own", "leading"),
    [
        ("entropy", 1, True, "entropy"),
        ("mc_dropout", 6, False, "entropy"),
        ("tta", 8, True, "entropy"),
        ("ensemble", 3, True, "disagreement"),
    ],
)
def test_each_way_mixes_its_answers(kind: str, answers: int, own: bool, leading: str):
    members = (nn.Identity(), nn.Identity()) if kind == "ensemble" else ()
    way = way_of(kind, Asked(STUDENT, (8, 8), members=members, passes=6, seed=3))
    assert (way.answers, way.own, way.measures[0]) == (answers, own, leading)


def test_every_draw_of_dropout_is_another_and_the_same_again():
    image = torch.rand(1, 1, 4, 4)
    drawn = [
        [network(image) for network in way_of("mc_dropout", Asked(STUDENT, (4, 4), passes=3)).others]
        for _ in range(2)
    ]
    for first, second in zip(*drawn, strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_all_ways_are_tried_here():
    assert set(WAYS) == {"entropy", "mc_dropout", "tta", "ensemble"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"uncertainty": "entrpy"}, "unknown way 'entrpy'; did you mean 'entropy'"),
        ({"calibrate": "locl"}, "unknown calibration 'locl'; did you mean 'local'"),
        ({"uncertainty": "ensemble"}, "needs other runs"),
        ({"members": (Path("other"),)}, "belong to --uncertainty ensemble, not to entropy"),
        ({"passes": 1}, "give 2 or more"),
        ({"error_below": 70}, r"give a Dice in 0\.\.1"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        Question(**options)
