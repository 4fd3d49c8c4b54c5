import math

import pytest
import torch

from meddistill.errors import ConfigError
from meddistill.losses import label_smoothing_map
from meddistill.pacing import (
    Boundary,
    Lowest,
    MostLikelyClass,
    Stretched,
    TrueClass,
    max_confidence,
    true_class_confidence,
)
from meddistill.testing import make_inputs

LOGITS = torch.tensor([[0.0, 2 * math.log(3)]])  # at T = 2: probabilities 1/4 and 3/4


@pytest.mark.parametrize(("label", "expected"), [(0, 0.25), (1, 0.75)])
def test_true_class_confidence_computed_by_hand(label, expected):
    confidence = true_class_confidence(LOGITS, torch.tensor([label]), temperature=2.0)
    assert confidence.item() == pytest.approx(expected)


def test_true_class_confidence_is_zero_where_ignored():
    assert true_class_confidence(LOGITS, torch.tensor([-100])).item() == 0
    assert true_class_confidence(LOGITS, torch.tensor([255]), ignore_index=255).item() == 0


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 5), (2, 3, 3, 4, 5)])
def test_the_most_likely_class_is_at_least_as_likely_as_the_true_one(shape):
    _, labels, teacher = make_inputs(shape)
    true, most = true_class_confidence(teacher, labels), max_confidence(teacher)
    assert true.shape == most.shape == labels.shape
    assert (most >= true).all()
    agree = teacher.argmax(1) == labels
    assert torch.equal(most[agree], true[agree])


@pytest.mark.parametrize("classes", [2, 3, 5, 14])
@pytest.mark.parametrize("temperature", [0.3, 2.51])
def test_confidences_are_softmax(classes, temperature):
    for shape in ((6, classes), (2, classes, 5, 4), (2, classes, 3, 4, 3)):
        _, labels, teacher = make_inputs(shape)
        labels.view(-1)[::4] = -100
        softmax = (teacher / temperature).softmax(1)
        own = softmax.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1) * (labels >= 0)
        torch.testing.assert_close(true_class_confidence(teacher, labels, temperature=temperature), own)
        torch.testing.assert_close(max_confidence(teacher, temperature=temperature), softmax.amax(1))


@pytest.mark.parametrize("classes", [2, 3])
def test_saturated_logits_have_a_confidence_of_zero_or_one(classes):
    logits = torch.full((2, classes), -3e4, dtype=torch.bfloat16)
    logits[:, 0] = 3e4
    confidence = true_class_confidence(logits, torch.tensor([0, 1]), temperature=0.05)
    assert confidence.tolist() == [1.0, 0.0]
    assert max_confidence(logits, temperature=0.05).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("classes", [2, 3])
def test_what_the_teacher_says_at_ignored_pixels_does_not_matter(classes):
    logits = torch.full((1, classes, 2), float("nan"))
    logits[..., 1] = 0
    confidence = true_class_confidence(logits, torch.tensor([[-100, 1]]))
    torch.testing.assert_close(confidence, torch.tensor([[0.0, 1 / classes]]))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_label_that_is_no_class_is_refused(classes):
    with pytest.raises(RuntimeError, match=rf"labels must lie in 0\.\.{classes - 1} or be -100"):
        true_class_confidence(torch.zeros(2, classes), torch.tensor([0, classes]))


def test_bfloat16_logits_are_ranked_in_float32():
    assert true_class_confidence(LOGITS.bfloat16(), torch.tensor([1])).dtype == torch.float32


def test_scores_agree_with_their_functions():
    _, labels, teacher = make_inputs((2, 3, 4, 5))
    expected = true_class_confidence(teacher, labels, temperature=2.51)
    assert torch.equal(TrueClass(2.51)(teacher, labels), expected)
    assert torch.equal(MostLikelyClass(2.51)(teacher, labels), max_confidence(teacher, temperature=2.51))
    soft = label_smoothing_map(labels, 3, kernel_size=5, sigma=2.0)
    assert torch.equal(Boundary(5, 2.0)(teacher, labels), soft.amax(1))


def test_stretched_spans_zero_to_one():
    labels = torch.zeros(1, 5, 5, dtype=torch.long)
    labels[0, 2, 2] = 1
    score = Stretched(Boundary())(torch.zeros(1, 2, 5, 5), labels)
    assert score.max().item() == pytest.approx(1.0)
    assert score[0, 2, 2].item() == pytest.approx(0.0, abs=1e-6)


def test_lowest_passes_a_threshold_where_all_scores_do():
    _, labels, teacher = make_inputs((2, 2, 6, 6))
    scores = (TrueClass(), Boundary())
    for threshold in (0.3, 0.6, 0.9):
        passed = torch.stack([score(teacher, labels) >= threshold for score in scores]).all(0)
        assert torch.equal(Lowest(scores)(teacher, labels) >= threshold, passed)


def test_impossible_arguments_are_refused():
    with pytest.raises(ConfigError, match="temperature"):
        true_class_confidence(LOGITS, torch.tensor([0]), temperature=0)
    with pytest.raises(ConfigError, match="temperature"):
        max_confidence(LOGITS, temperature=-1)
    with pytest.raises(ValueError, match=r"labels \(2,\) do not fit logits \(1, 2\)"):
        true_class_confidence(LOGITS, torch.tensor([0, 1]))
