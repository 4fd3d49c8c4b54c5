import math

import pytest
import torch

from meddistill.losses import PredictionEntropy, prediction_entropy
from meddistill.testing import DistillationLossTestCase, make_inputs


class TestPredictionEntropy(DistillationLossTestCase):
    uses_labels = False

    def loss(self, student_logits, labels, teacher_logits):
        return prediction_entropy(student_logits)


def test_value_computed_by_hand():
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert prediction_entropy(torch.tensor([[0.0, math.log(3)]])).item() == pytest.approx(expected, rel=1e-6)


def test_lies_between_zero_and_the_logarithm_of_the_class_count():
    logits, _, _ = make_inputs((2, 5, 8, 8))
    entropy = prediction_entropy(logits)
    assert (entropy > 0).all()
    assert (entropy < math.log(5)).all()
    assert prediction_entropy(torch.zeros(1, 5)).item() == pytest.approx(math.log(5))


def test_module_agrees():
    logits, _, _ = make_inputs((2, 3, 4, 4))
    assert torch.equal(PredictionEntropy()(logits), prediction_entropy(logits))


def test_logits_without_classes_are_refused():
    with pytest.raises(ValueError, match=r"logits \(4,\) have no class axis"):
        prediction_entropy(torch.zeros(4))
