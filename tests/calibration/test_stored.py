"""A calibrator comes back from its file as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from meddistill.calibration import (
    Calibrator,
    ClassTemperature,
    LocalTemperature,
    Temperature,
    load_calibrator,
    save_calibrator,
)
from meddistill.errors import RunError
from meddistill.models.spec import ModelSpec, save_weights
from tests.evaluation.answer_maps import random_logits


def local(dims: int) -> LocalTemperature:
    torch.manual_seed(0)
    found = LocalTemperature(1.7, num_classes=3, in_channels=1, dims=dims)
    nn.init.normal_(found.network[-1].weight)
    return found


@pytest.mark.parametrize(
    ("calibrator", "shape"),
    [
        (Temperature(0.1), (4, 3)),
        (ClassTemperature(torch.tensor([0.3, 1.1, 7.0])), (2, 3, 6, 5)),
        (local(2), (2, 3, 6, 5)),
        (local(3), (2, 3, 4, 5, 3)),
    ],
)
def test_it_does_the_same_as_before(calibrator: Calibrator, shape: tuple[int, ...], tmp_path):
    logits, _ = random_logits(3, shape)
    image = torch.rand(shape[0], 1, *shape[2:])
    save_calibrator(calibrator, tmp_path / "there" / "c.safetensors")
    found = load_calibrator(tmp_path / "there" / "c.safetensors")
    assert type(found) is type(calibrator)
    assert not found.training
    assert torch.equal(found(logits, image), calibrator(logits, image))
    assert found.describe() == calibrator.describe()


def test_what_holds_no_calibrator_is_refused(tmp_path):
    file = tmp_path / "c.safetensors"
    with pytest.raises(RunError, match="is missing"):
        load_calibrator(file)
    spec = ModelSpec("pcd/unet", options={"width": 2})
    save_weights(spec.build(), spec, file)
    with pytest.raises(RunError, match="holds no calibrator, or is damaged; fit it again"):
        load_calibrator(file)
    save_calibrator(local(2), file)
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(RunError, match="damaged"):
        load_calibrator(file)
