"""What is kept of answers: whole or part by part, from one answer or from several."""

from __future__ import annotations

import math

import pytest
import torch

from meddistill.errors import DataError
from meddistill.evaluation.answer_maps import Maps
from meddistill.evaluation.tiling import Slab, whole_maps
from meddistill.evaluation.uncertainty import case_uncertainty
from tests.evaluation.answer_maps import random_logits


def test_maps_are_class_probability_and_entropy():
    logits, _ = random_logits(0, (2, 3, 5, 6), 3.0)
    maps = Maps.of_answers(logits)
    p = logits.softmax(1)
    assert torch.equal(maps.prediction, logits.argmax(1))
    torch.testing.assert_close(maps.foreground, p[:, 1:].sum(1))
    torch.testing.assert_close(maps.uncertainty["entropy"], -(p * p.log()).sum(1) / math.log(3))
    one = maps.of(1)
    expected = case_uncertainty(maps.uncertainty["entropy"][1], maps.prediction[1], maps.foreground[1])
    assert one.of_case("entropy") == expected
    assert one.of_case("entropy", dense=False) == pytest.approx(float(maps.uncertainty["entropy"][1].mean()))


def test_several_answers_tell_the_uncertainty_of_the_one():
    logits, _ = random_logits(1, (1, 2, 4, 4))
    maps = Maps.of_answers(logits, [logits, -logits], ("entropy", "disagreement"))
    torch.testing.assert_close(maps.uncertainty["entropy"], torch.ones(1, 4, 4))
    alone = Maps.of_answers(logits)
    torch.testing.assert_close(maps.uncertainty["disagreement"], 1 - alone.uncertainty["entropy"])
    assert torch.equal(maps.prediction, alone.prediction)


def test_slabs_are_put_together_to_a_volume():
    logits, _ = random_logits(2, (1, 3, 7, 5, 4))
    planes = [slice(0, 3), slice(3, 4), slice(4, 7)]
    slabs = (Slab((part, slice(0, 5), slice(0, 4)), logits[0][:, part]) for part in planes)
    found, whole = whole_maps(slabs, (7, 5, 4)), Maps.of_answers(logits).of(0)
    assert torch.equal(found.prediction.long(), whole.prediction)
    torch.testing.assert_close(found.foreground, whole.foreground)
    torch.testing.assert_close(found.uncertainty["entropy"], whole.uncertainty["entropy"])
    assert found.of_case("entropy") == pytest.approx(whole.of_case("entropy"))


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="NaN or infinity"):
        Maps.of_answers(torch.full((1, 2, 3, 3), math.nan))
