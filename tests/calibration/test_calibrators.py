"""What calibrators do to logits: shapes, answers, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from meddistill.calibration import Calibrated, ClassTemperature, LocalTemperature, Temperature
from meddistill.calibration.calibrators import LOCAL_RANGE
from tests.evaluation.answer_maps import random_logits

SHAPES = [(2, 3, 6, 5), (2, 3, 4, 5, 3)]


def images(logits: Tensor) -> Tensor:
    return torch.rand(len(logits), 1, *logits.shape[2:], generator=torch.Generator().manual_seed(0))


def local_for(logits: Tensor, seed: int = 0) -> LocalTemperature:
    """With weights that do something."""
    torch.manual_seed(seed)
    local = LocalTemperature(1.5, num_classes=logits.shape[1], in_channels=1, dims=logits.ndim - 2)
    nn.init.normal_(local.network[-1].weight)
    return local


@pytest.mark.parametrize("shape", [(5, 3), *SHAPES])
def test_equal_class_temperatures_are_one_temperature(shape: tuple[int, ...]):
    logits, _ = random_logits(0, shape)
    each = ClassTemperature(torch.full((3,), 2.5))(logits, logits)
    torch.testing.assert_close(each.softmax(1), Temperature(2.5)(logits, logits).softmax(1))


def test_class_temperatures_do_not_see_an_offset_of_the_logits():
    logits, _ = random_logits(1)
    calibrator = ClassTemperature(torch.tensor([0.5, 1.0, 3.0]))
    found = [calibrator(logits + offset, logits).softmax(1) for offset in (0.0, 7.0)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("shape", SHAPES)
def test_local_temperatures_differ_from_pixel_to_pixel_and_change_no_answer(shape: tuple[int, ...]):
    logits, _ = random_logits(2, shape)
    local = local_for(logits)
    found, image = local(logits, images(logits)), images(logits)
    temperatures = local.map(logits, image).detach()
    assert temperatures.shape == (2, 1, *shape[2:])
    assert float(temperatures.std()) > 0.1
    assert float(temperatures.min()) >= 1.5 / LOCAL_RANGE
    assert float(temperatures.max()) <= 1.5 * LOCAL_RANGE
    assert torch.equal(found.argmax(1), logits.argmax(1))


def test_gradients_of_every_calibrator():
    logits, _ = random_logits(3, (1, 2, 3, 4))
    logits, image = logits.double().requires_grad_(), images(logits).double()
    local = local_for(logits).double()
    weights = [weight.detach().requires_grad_() for weight in local.parameters()]
    names = [name for name, _ in local.named_parameters()]

    def scaled(*given: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            local, dict(zip(names, given, strict=True)), (logits.detach(), image)
        )
        return found

    assert torch.autograd.gradcheck(scaled, tuple(weights), fast_mode=True)
    for calibrator in (Temperature(1.7), ClassTemperature(torch.tensor([0.7, 2.0])).double()):
        assert torch.autograd.gradcheck(lambda given, c=calibrator: c(given, image), logits)


def test_a_calibrated_network_is_a_network():
    network = Calibrated(nn.Conv2d(1, 2, 1), Temperature(4.0)).eval()
    image = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(network(image), network.network(image) / 4)
