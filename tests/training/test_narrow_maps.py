"""Convolutions over maps that are narrower than their stride, in bfloat16."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from meddistill.training.assembly import assemble
from meddistill.training.narrow_maps import widen_narrow_maps
from tests.recipes import tiny_recipe


def gradients(network, image):
    """Of the weights, in bfloat16, after memory was filled with large numbers."""
    count = sum(weight.numel() for weight in network.parameters())
    for size in (count, 2 * count, 16 * count):
        for kind in (torch.float32, torch.bfloat16):
            torch.full((size,), 1e30, dtype=kind)
    network.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(image).sum().backward()
    return [weight.grad.clone() for weight in network.parameters()]


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 2), (1, 1, 1), (1,)])
@pytest.mark.parametrize("stride", [2, 4])
def test_gradients_over_narrow_maps_are_those_of_float32(shape, stride):
    torch.manual_seed(0)
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(shape)]
    network, image = kind(8, 8, 3, stride=stride, padding=1), torch.randn(8, 8, *shape)
    network(image).sum().backward()
    wanted = [weight.grad.clone() for weight in network.parameters()]
    widen_narrow_maps(network)
    for _ in range(5):
        for found, right in zip(gradients(network, image), wanted, strict=True):
            torch.testing.assert_close(found, right, rtol=0.02, atol=0.1)
            assert not found[right == 0].any()


@given(
    width=st.integers(1, 6),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 2),
)
def test_no_answer_changes(width, kernel, stride, padding, dilation):
    if width + 2 * padding < dilation * (kernel - 1) + 1:
        return
    torch.manual_seed(0)
    network = nn.Conv1d(2, 3, kernel, stride=stride, padding=padding, dilation=dilation)
    image = torch.randn(2, 2, width)
    before = network(image)
    widen_narrow_maps(network)
    torch.testing.assert_close(network(image), before)


def test_convolutions_that_pad_in_another_way_are_left_alone():
    class Same(nn.Conv2d):
        pass

    network = nn.Sequential(
        Same(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, 3, stride=2, padding=1, padding_mode="circular")
    )
    widen_narrow_maps(network)
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(("precision", "hooked"), [("bf16", True), ("32", False)])
def test_a_training_in_bfloat16_on_a_cpu_has_them(precision, hooked):
    model = {"name": "smp/unet", "options": {"encoder_name": "resnet18", "encoder_weights": None}}
    training = {"epochs": 1, "batch_size": 2, "precision": precision, "accelerator": "cpu"}
    task = assemble(tiny_recipe(model=model, training=training))
    before = copy.deepcopy(task.student)
    task.ready(torch.device("cpu"))
    assert not any(module._forward_pre_hooks for module in before.modules())
    assert any(module._forward_pre_hooks for module in task.student.modules()) == hooked
