"""Temperature scaling: the true temperature comes back, and nothing gets worse."""

import json
import math
import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from meddistill.calibration import Calibration, fit_temperature
from meddistill.calibration.temperature import TEMPERATURE_RANGE
from meddistill.data.case import IGNORE_INDEX
from meddistill.errors import ConfigError, DataError, RunError
from meddistill.evaluation.reliability import expected_calibration_error


def drawn(scale: float, shape: tuple[int, ...] = (6000, 3), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits `scale` times those that the labels were drawn from: the true temperature is `scale`."""
    generator = torch.Generator().manual_seed(seed)
    honest = 2 * torch.randn(shape, generator=generator)
    pixels = honest.softmax(dim=1).movedim(1, -1)
    labels = torch.multinomial(pixels.flatten(0, -2), 1, generator=generator).reshape(pixels.shape[:-1])
    return honest * scale, labels


def slope(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """d NLL / d(1/T), by automatic differentiation in double precision."""
    inverse = torch.tensor(1 / temperature, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(logits.double() * inverse, labels, ignore_index=IGNORE_INDEX).backward()
    assert inverse.grad is not None
    return float(inverse.grad)


@pytest.mark.parametrize("criterion", ["nll", "ece"])
@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 2.51, 5.0, 20.0, 100.0])
def test_the_true_temperature_comes_back(scale: float, criterion: str):
    batch = drawn(scale)
    calibration = fit_temperature(lambda: [batch], criterion=criterion)
    assert calibration.temperature == pytest.approx(scale, rel=0.06)
    assert calibration.ece_after < 0.02


@pytest.mark.parametrize("scale", [0.05, 1.0, 5.0, 20.0, 100.0])
def test_the_slope_of_the_nll_vanishes_at_the_result(scale: float):
    logits, labels = drawn(scale, seed=4)
    temperature = fit_temperature(lambda: [(logits, labels)]).temperature
    assert slope(logits, labels, temperature * 0.9999) > 0 > slope(logits, labels, temperature * 1.0001)


def test_the_result_scales_with_the_logits():
    logits, labels = drawn(1.0)
    one = fit_temperature(lambda: [(logits, labels)]).temperature
    ten = fit_temperature(lambda: [(10 * logits, labels)]).temperature
    assert ten == pytest.approx(10 * one, rel=1e-5)


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 200), share=st.floats(0, 1))
@settings(max_examples=20)
def test_it_is_never_worse_than_no_calibration(seed: int, scale: float, share: float):
    """Also for labels that have little to do with the logits."""
    logits, labels = drawn(scale, (200, 4), seed)
    wrong = torch.rand(200, generator=torch.Generator().manual_seed(seed)) < share
    labels = torch.where(wrong, (labels + 1) % 4, labels)
    nll = fit_temperature(lambda: [(logits, labels)])
    ece = fit_temperature(lambda: [(logits, labels)], criterion="ece")
    assert nll.nll_after <= nll.nll_before
    assert ece.ece_after <= ece.ece_before
    assert TEMPERATURE_RANGE[0] <= nll.temperature <= TEMPERATURE_RANGE[1] * 1.001


def test_before_and_after_are_the_scores_of_the_whole_set():
    logits, labels = drawn(3.0, (4, 3, 6, 5))
    calibration = fit_temperature(lambda: [(logits[:3], labels[:3]), (logits[3:], labels[3:])])
    cooled = logits / calibration.temperature
    assert calibration.nll_before == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert calibration.nll_after == pytest.approx(float(F.cross_entropy(cooled, labels)), rel=1e-5)
    assert calibration.ece_before == pytest.approx(
        expected_calibration_error(logits.softmax(1), labels), abs=1e-6
    )
    assert calibration.ece_after == pytest.approx(
        expected_calibration_error(cooled.softmax(1), labels), abs=1e-6
    )
    assert calibration.bins_before.total == calibration.bins_after.total == labels.numel()


@pytest.mark.parametrize("criterion", ["nll", "ece"])
@pytest.mark.parametrize("shape", [(24, 3), (4, 3, 6), (4, 3, 3, 2), (2, 3, 3, 2, 2)])
def test_axes_do_not_matter(shape: tuple[int, ...], criterion: str):
    flat_logits, flat_labels = drawn(4.0, (math.prod(shape) // 3, 3))
    logits = flat_logits.reshape(shape[0], *shape[2:], 3).movedim(-1, 1)
    labels = flat_labels.reshape(shape[0], *shape[2:])
    flat = fit_temperature(lambda: [(flat_logits, flat_labels)], criterion=criterion)
    shaped = fit_temperature(lambda: [(logits, labels)], criterion=criterion)
    assert shaped.temperature == pytest.approx(flat.temperature, rel=1e-6)


@pytest.mark.parametrize("criterion", ["nll", "ece"])
def test_ignored_pixels_never_count(criterion: str):
    logits, labels = drawn(3.0, (4, 3, 8, 8))
    hidden = labels.clone()
    hidden[2:] = IGNORE_INDEX
    spoilt = logits.clone()
    spoilt[2:] = math.nan
    some = fit_temperature(lambda: [(spoilt, hidden), (spoilt[2:], hidden[2:])], criterion=criterion)
    only = fit_temperature(lambda: [(logits[:2], labels[:2])], criterion=criterion)
    assert some.to_json() == only.to_json()


def test_perfect_and_useless_teachers_end_at_the_bounds():
    logits, _ = drawn(1.0)
    perfect = fit_temperature(lambda: [(logits, logits.argmax(1))])
    assert perfect.temperature == pytest.approx(TEMPERATURE_RANGE[0])
    contrary = fit_temperature(lambda: [(logits, logits.argmin(1))])
    assert contrary.temperature == pytest.approx(TEMPERATURE_RANGE[1])


def test_passes_are_few_and_hold_one_batch_at_a_time():
    passes = 0

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        nonlocal passes
        passes += 1
        handed_out: list[weakref.ref[Tensor]] = []
        for seed in range(4):
            assert all(earlier() is None for earlier in handed_out[:-1])
            logits, labels = drawn(5.0, (60, 3), seed)
            handed_out.append(weakref.ref(logits))
            yield logits, labels

    for criterion in ("nll", "ece"):
        passes = 0
        fit_temperature(batches, criterion=criterion)
        assert passes == 4


@pytest.mark.parametrize("criterion", ["nll", "ece"])
def test_a_round_trip_through_json(criterion: str):
    calibration = fit_temperature(lambda: [drawn(5.0, (300, 3))], criterion=criterion)
    text = json.dumps(calibration.to_json())
    again = Calibration.from_json(json.loads(text))
    assert again.temperature == calibration.temperature
    assert again.bins_after.ece() == pytest.approx(calibration.ece_after, abs=1e-12)
    assert json.loads(text).keys() == vars(calibration).keys()


@pytest.mark.parametrize("value", [{}, {"temperature": 2}, {"bins_before": 1, "bins_after": 2}])
def test_other_json_is_refused(value: dict[str, object]):
    with pytest.raises(RunError, match="does not describe a calibration"):
        Calibration.from_json(value)


def test_what_cannot_be_calibrated_is_refused():
    logits, labels = drawn(1.0, (5, 3))
    with pytest.raises(ConfigError, match="unknown calibration criterion 'nl'; did you mean 'nll'"):
        fit_temperature(lambda: [(logits, labels)], criterion="nl")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no labelled pixel"):
        fit_temperature(lambda: [(logits, torch.full_like(labels, IGNORE_INDEX))])
    with pytest.raises(DataError, match="NaN or infinity"):
        fit_temperature(lambda: [(logits * math.nan, labels)])
    with pytest.raises(DataError, match=r"\(5, 3\) do not fit labels of shape \(4,\)"):
        fit_temperature(lambda: [(logits, labels[:4])])
    with pytest.raises(DataError, match="label values 3 to 3 do not fit the 3 classes"):
        fit_temperature(lambda: [(logits, torch.full_like(labels, 3))])


def test_a_pass_that_cannot_be_repeated_is_refused():
    once = iter([drawn(1.0, (5, 3))])
    with pytest.raises(DataError, match="a pass over the held-out data gave no labelled pixel"):
        fit_temperature(lambda: once)
