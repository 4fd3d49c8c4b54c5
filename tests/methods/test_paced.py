import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meddistill.errors import ConfigError, DataError, RunError, TeacherError
from meddistill.losses import cross_entropy, kl_divergence
from meddistill.methods import Context, Distillation, PacedDistillation
from meddistill.pacing import Boundary, LinearPacing, max_confidence, true_class_confidence
from meddistill.testing import MethodTestCase, make_batch, make_inputs

MAPS = ((1, 2, 6, 5), (2, 3, 5, 4), (2, 3, 4, 3, 4))


class TestConfidenceMask(MethodTestCase):
    def make_method(self):
        return PacedDistillation(mode="tpl")


class TestBoundaryMask(MethodTestCase):
    shapes = MAPS

    def make_method(self):
        return PacedDistillation(mode="tpl_uncert", boundary="stretched", beta=0.4)


class TestSoftWeight(MethodTestCase):
    def make_method(self):
        return PacedDistillation(mode="cpl", weights_to="both")


class TestBothCurricula(MethodTestCase):
    def make_method(self):
        return PacedDistillation(mode="cpl_tpl", weights_to="kld", normalise="selected", alpha=0.3, every=2)


class TestReference(MethodTestCase):
    shapes = MAPS

    def make_method(self):
        return PacedDistillation(mode="tpl_uncert", preset="reference")


class TestForerunner(MethodTestCase):
    def make_method(self):
        return PacedDistillation(
            mode="tpl", preset="first", score="max_confidence", pacing="rising", alpha=0.3
        )


def prepared(
    shape=(2, 3, 8, 8), *, epochs=20, labels=None, teacher_temperature=None, **options
) -> PacedDistillation:
    _, default_labels, teacher = make_inputs(shape)
    chosen = default_labels if labels is None else labels
    method = PacedDistillation(**{"confidence_temperature": 1.0, **options})
    method.prepare(Context(shape[1], epochs, lambda: [(teacher, chosen)], teacher_temperature))
    return method


def test_loss_of_two_pixels_computed_by_hand():
    log3 = math.log(3)
    teacher = torch.tensor([[[[0.0, log3]], [[log3, 0.0]]]])  # (1/4, 3/4) and (3/4, 1/4)
    student = torch.zeros(1, 2, 1, 2)
    labels = torch.tensor([[[1, 1]]])  # true-class confidences 3/4 and 1/4
    k = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    e = math.log(2)

    def loss(epoch: int, **options) -> float:
        method = PacedDistillation(
            temperature=1.0, confidence_temperature=1.0, beta=0.4, gamma=1.0, every=1, **options
        )
        method.prepare(Context(2, 10, lambda: [(teacher, labels)]))
        method.on_epoch_start(epoch)
        return method(student, make_batch(labels), teacher)["loss"].item()

    assert loss(0, mode="tpl") == pytest.approx((k + e) / 2)  # the second pixel is not sure enough
    assert loss(0, mode="tpl", normalise="selected") == pytest.approx(k + e)
    assert loss(0, mode="tpl", preset="reference") == pytest.approx((k / 2 + e) / 2)
    assert loss(11, mode="tpl") == pytest.approx(k + e)
    floor = 1 - 0.75 + 0.1
    soft = (1 + floor) / 2
    assert loss(0, mode="cpl", cpl_beta=0.4) == pytest.approx(k + soft * e)
    assert loss(0, mode="cpl", cpl_beta=0.4, weights_to="kld") == pytest.approx(soft * k + e)
    assert loss(0, mode="cpl", cpl_beta=0.4, weights_to="both") == pytest.approx(soft * (k + e))
    assert loss(0, mode="cpl_tpl") == pytest.approx((k + e) / 2)


@pytest.mark.parametrize("mode", ["tpl", "tpl_uncert", "cpl_tpl"])
@given(beta=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_first_threshold_keeps_at_least_beta(mode, beta, seed):
    _, labels, teacher = make_inputs((2, 3, 6, 6), seed=seed)
    method = PacedDistillation(mode=mode, beta=beta, confidence_temperature=1.5)
    method.prepare(Context(3, 20, lambda: [(teacher, labels)]))
    confidence = true_class_confidence(teacher, labels, temperature=1.5)
    assert (confidence >= method.status()["threshold"]).double().mean() >= beta


def test_threshold_follows_the_linear_pacing():
    method = prepared(mode="tpl", epochs=20, gamma=0.5, every=2)
    start = method.status()["threshold"]
    course = []
    for epoch in range(20):
        method.on_epoch_start(epoch)
        course.append(method.status()["threshold"])
    pacing = LinearPacing(start, 20, 0.5, 2)
    assert course == [pacing.threshold(epoch) for epoch in range(20)]
    assert course[10] > 0
    assert course[11] == 0


@pytest.mark.parametrize("preset", ["paper", "reference"])
@pytest.mark.parametrize("mode", ["tpl", "tpl_uncert", "cpl_tpl"])
def test_with_every_pixel_in_it_is_plain_distillation(mode, preset):
    student, labels, teacher = make_inputs((2, 3, 8, 8))
    labels[0, :2] = -100
    method = prepared(mode=mode, preset=preset, epochs=10)
    method.on_epoch_start(99)
    reduction = method.settings.class_reduction
    expected = Distillation(class_reduction=reduction)(student, make_batch(labels), teacher)
    got = method(student, make_batch(labels), teacher)
    torch.testing.assert_close(got, expected)


def test_share_in_use_is_the_share_that_the_masks_let_in():
    _, labels, teacher = make_inputs((2, 3, 8, 8))
    labels[0, 0] = -100
    valid = labels != -100
    for options in ({"mode": "tpl"}, {"mode": "tpl_uncert"}, {"mode": "tpl_uncert", "boundary": "stretched"}):
        method = prepared(labels=labels, beta=0.3, every=4, **options)
        mu = method.status()["threshold"]
        mask = true_class_confidence(teacher, labels) >= mu
        if options["mode"] == "tpl_uncert":
            q = Boundary()(teacher, labels)
            mask &= (2 * q - 1 if "boundary" in options else q) >= mu
        share = mask[valid].double().mean().item()
        assert method.status()["share_in_use"] == pytest.approx(share)
        method.on_epoch_start(19)
        assert method.status()["share_in_use"] == 1.0


def test_share_of_soft_weights_is_the_share_of_full_weight():
    _, labels, teacher = make_inputs((2, 3, 8, 8))
    method = prepared(mode="cpl", cpl_beta=0.6)
    status = method.status()
    assert set(status) == {"cpl_threshold", "share_in_use"}
    sure = true_class_confidence(teacher, labels) >= status["cpl_threshold"]
    assert status["share_in_use"] == pytest.approx(sure.double().mean().item())


def test_soft_weights_alone_start_at_one_and_fall_by_a_tenth():
    method = prepared(mode="cpl", epochs=100)
    course = []
    for epoch in (0, 5, 6, 11, 46, 51):
        method.on_epoch_start(epoch)
        course.append(method.status()["cpl_threshold"])
    assert course == pytest.approx([1.0, 1.0, 0.9, 0.8, 0.1, 0.0])


def test_both_curricula_have_thresholds_of_their_own():
    status = prepared(mode="cpl_tpl", beta=0.8, cpl_beta=0.2).status()
    assert status["cpl_threshold"] > status["threshold"] > 0


def test_both_curricula_with_one_threshold_are_the_hard_one():
    student, labels, teacher = make_inputs((2, 3, 8, 8))
    losses = [
        prepared(mode=mode)(student, make_batch(labels), teacher)["loss"] for mode in ("tpl", "cpl_tpl")
    ]
    other = prepared(mode="cpl_tpl", cpl_beta=0.3)(student, make_batch(labels), teacher)["loss"]
    assert losses[0] == losses[1] != other


def test_masks_of_the_most_likely_class_do_not_look_at_the_label():
    student, labels, teacher = make_inputs((2, 3, 8, 8))
    method = prepared(mode="tpl", score="max_confidence", beta=0.5)
    mask = max_confidence(teacher) >= method.status()["threshold"]
    loss = mask * (kl_divergence(student, teacher, temperature=4.5) + cross_entropy(student, labels))
    torch.testing.assert_close(method(student, make_batch(labels), teacher)["loss"], loss.mean())


def test_rising_pacing_lets_in_more_doubt():
    method = prepared(mode="tpl", pacing="rising", initial_mu=0.39, mu_update=0.183, every=5, epochs=40)
    course = []
    for epoch in (0, 4, 5, 10, 15, 20):
        method.on_epoch_start(epoch)
        course.append(method.status()["threshold"])
    assert course == pytest.approx([0.61, 0.61, 0.427, 0.244, 0.061, 0.0])


def test_soft_weight_of_the_forerunner():
    student, labels, teacher = make_inputs((2, 2, 8, 8))
    method = prepared((2, 2, 8, 8), mode="cpl", preset="first", pacing="rising", alpha=0.3)
    method.on_epoch_start(5)  # mu = 0.3
    k = kl_divergence(student, teacher, temperature=4.5, class_reduction="mean")
    e = cross_entropy(student, labels)
    w = torch.where(1 - true_class_confidence(teacher, labels) <= 0.3, 1.0, 0.4)
    loss = method(student, make_batch(labels), teacher)["loss"]
    torch.testing.assert_close(loss, (0.3 * k + 0.7 * w * e).mean())


def test_calibrated_temperature_comes_from_the_context():
    method = prepared(mode="tpl", confidence_temperature="calibrate", teacher_temperature=2.0)
    assert method.needs_teacher_temperature
    assert method.state_dict()["confidence_temperature"] == 2.0
    fixed = prepared(mode="tpl", confidence_temperature=2.0)
    assert not fixed.needs_teacher_temperature
    assert fixed.status() == method.status()


def test_a_missing_calibration_is_refused():
    with pytest.raises(ConfigError, match="no temperature was fitted: give a calibration split or set"):
        prepared(mode="tpl", confidence_temperature="calibrate")


def test_state_is_made_of_plain_numbers():
    state = prepared(mode="cpl_tpl").state_dict()
    assert set(state) == {"confidence_temperature", "epochs", "starts", "shares"}
    assert all(type(share) is float for share in state["shares"])
    assert all(type(start) is float for start in state["starts"].values())


def test_it_must_be_prepared():
    student, labels, teacher = make_inputs((1, 2, 4, 4))
    method = PacedDistillation()
    method.on_epoch_start(3)
    assert method.status() == method.state_dict() == {}
    with pytest.raises(RunError, match=r"call prepare\(context\)"):
        method(student, make_batch(labels), teacher)
    with pytest.raises(RunError, match="has no 'confidence_temperature'"):
        method.load_state_dict({})


def test_teacher_that_does_not_fit_is_refused():
    _, labels, teacher = make_inputs((1, 2, 4, 4))
    method = PacedDistillation(confidence_temperature=1.0)
    with pytest.raises(TeacherError, match="the teacher has 2 classes, the student 3"):
        method.prepare(Context(3, 10, lambda: [(teacher, labels)]))
    with pytest.raises(TeacherError, match="NaN or infinity"):
        method.prepare(Context(2, 10, lambda: [(teacher / 0, labels)]))
    with pytest.raises(ValueError, match="needs a teacher"):
        method.prepare(Context(2, 10))


def test_labels_that_are_all_unknown_are_refused():
    with pytest.raises(DataError, match="no pixel of the training split has a label"):
        prepared(labels=torch.full((2, 8, 8), -100))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "tpl_uncertain"}, "unknown mode 'tpl_uncertain'; did you mean 'tpl_uncert'"),
        ({"preset": "papers"}, "unknown preset 'papers'; did you mean 'paper'"),
        ({"temperature": -4.5}, "temperature must be a number above 0, got -4.5"),
        ({"confidence_temperature": 0}, "confidence_temperature must be a number above 0"),
        ({"confidence_temperature": "calibrated"}, "did you mean 'calibrate'"),
        ({"beta": 1.7}, r"beta must lie in 0..1, got 1.7"),
        ({"beta": "0.7"}, r"beta must lie in 0..1, got '0.7'"),
        ({"gamma": 0}, "gamma must be a number above 0"),
        ({"gamma": 1.1}, r"gamma must lie in 0..1"),
        ({"every": 0}, "every must be a whole number"),
        ({"cpl_beta": -1}, r"cpl_beta must lie in 0..1"),
        ({"cpl_gamma": 2}, r"cpl_gamma must lie in 0..1"),
        ({"cpl_every": 1.5}, "cpl_every must be a whole number"),
        ({"weights_to": "kd"}, "unknown weights_to 'kd'"),
        ({"alpha": 3}, r"alpha must lie in 0..1"),
        ({"normalise": "none"}, "unknown normalise"),
        ({"score": "true"}, "unknown score"),
        ({"pacing": "cosine"}, "unknown pacing"),
        ({"initial_mu": 2}, "initial_mu must lie in 0..1"),
        ({"mu_update": 0}, "mu_update must be a number above 0"),
        ({"boundary": "own"}, "unknown boundary"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"sigma": 0}, "sigma must be a number above 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        PacedDistillation(**options)
