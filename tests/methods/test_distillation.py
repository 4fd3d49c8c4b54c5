import pytest
import torch

from meddistill.errors import ConfigError, TeacherError
from meddistill.losses import cross_entropy, kl_divergence
from meddistill.methods import Distillation
from meddistill.testing import MethodTestCase, make_batch, make_inputs


class TestDistillation(MethodTestCase):
    def make_method(self):
        return Distillation()


class TestWeighted(MethodTestCase):
    def make_method(self):
        return Distillation(temperature=2.0, alpha=0.3, class_reduction="mean")


def test_both_terms_count_in_full():
    student, labels, teacher = make_inputs((2, 3, 4, 4))
    terms = Distillation()(student, make_batch(labels), teacher)
    kd, ce = kl_divergence(student, teacher, temperature=4.5).mean(), cross_entropy(student, labels).mean()
    torch.testing.assert_close(terms["loss"], kd + ce)
    torch.testing.assert_close((terms["kd"], terms["ce"]), (kd, ce))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_weighs_the_terms(alpha):
    student, labels, teacher = make_inputs((2, 3, 4, 4))
    terms = Distillation(alpha=alpha)(student, make_batch(labels), teacher)
    torch.testing.assert_close(terms["loss"], alpha * terms["kd"] + (1 - alpha) * terms["ce"])


def test_mean_over_classes_divides_the_distillation_term():
    student, labels, teacher = make_inputs((2, 3, 4, 4))
    batch = make_batch(labels)
    whole = Distillation()(student, batch, teacher)["kd"]
    torch.testing.assert_close(Distillation(class_reduction="mean")(student, batch, teacher)["kd"], whole / 3)


def test_teacher_of_other_classes_is_refused():
    student, labels, _ = make_inputs((2, 3, 4, 4))
    with pytest.raises(TeacherError, match="the teacher has 2 classes, the student 3"):
        Distillation()(student, make_batch(labels), torch.zeros(2, 2, 4, 4))


def test_teacher_of_another_size_or_none_is_refused():
    student, labels, _ = make_inputs((2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\) do not fit student logits \(2, 3, 4, 4\)"):
        Distillation()(student, make_batch(labels), torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="needs a teacher"):
        Distillation()(student, make_batch(labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be a number above 0, got 0"),
        ({"alpha": 1.2}, r"alpha must lie in 0..1, got 1.2"),
        ({"class_reduction": "avg"}, "unknown class_reduction 'avg'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Distillation(**options)
