"""SDU-Net and the five networks of its family: layout, reach, and the ways they are used."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import ModelSpec, count_parameters, create_model, list_models, load_model, save_weights
from meddistill.models.sdunet import PlainUNet, SDUNet, StackedDilation
from meddistill.teachers import load_teacher
from tests.models.test_factory import small_options

FAMILY = [name for name in list_models() if name.startswith("nakt/")]


def normalised(low: int, high: int) -> int:
    """Weights of a convolution of 3x3 and of its batch normalisation."""
    return 9 * low * high + 2 * high


def stack(low: int, high: int) -> int:
    sizes = [low, high // 2, high // 4, high // 8, high // 16, high // 16]
    return sum(normalised(*pair) for pair in itertools.pairwise(sizes))


def test_parameter_count_follows_from_the_layout():
    widths = [32, 64, 128, 256, 512]
    down = sum(stack(*pair) for pair in itertools.pairwise([1, *widths]))
    up = sum(4 * low * high + high + stack(2 * high, high) for high, low in itertools.pairwise(widths))
    assert count_parameters(SDUNet(width=32)) == down + up + 2 * 32 + 2


def test_the_share_of_the_weights_of_a_unet_is_that_of_the_abstract():
    """ "around 40% of vanilla U-Net's", which has 31 million."""
    plain = count_parameters(PlainUNet(width=64))
    assert plain == pytest.approx(31.04e6, rel=1e-3)
    assert count_parameters(SDUNet(width=64)) / plain == pytest.approx(0.377, abs=1e-3)


def reach(network: nn.Module, size: int = 129) -> tuple[int, int]:
    """Rows and columns of the image that the output in the middle depends on."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(module.weight, 1.0)
    image = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    output = network.double().eval()(image + 1.0)
    output[:, :, size // 2, size // 2].sum().backward()
    seen = image.grad[0, 0] != 0
    return int(seen.any(1).sum()), int(seen.any(0).sum())


@pytest.mark.parametrize(
    ("dilations", "expected"), [((1,), 5), ((3,), 9), ((3, 6), 21), ((3, 6, 9, 12), 63), ((2, 2), 11)]
)
def test_a_stack_reaches_as_far_as_its_rates_add_up_to(dilations, expected):
    assert reach(StackedDilation(1, 16, dilations=dilations)) == (expected, expected)


def test_each_share_of_the_channels_has_a_reach_of_its_own():
    block = StackedDilation(1, 16, dilations=(3, 6, 9, 12)).double().eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
    found = []
    for channel in (0, 8, 12, 14, 15):
        image = torch.ones(1, 1, 81, 81, dtype=torch.float64, requires_grad=True)
        block(image)[0, channel, 40, 40].backward()
        found.append(int((image.grad[0, 0] != 0).any(0).sum()))
    assert found == [3, 9, 21, 39, 63]


def test_a_network_of_dilations_reaches_further_than_a_plain_one():
    plain, dilated = PlainUNet(width=4, levels=2), SDUNet(width=16, levels=2, dilations=(3, 6))
    assert reach(plain, 128) == (17, 17)  # of two equal pixels the pooling takes the first
    assert reach(dilated, 128)[0] > 60


def test_a_level_keeps_its_size_in_three_dimensions():
    block = StackedDilation(2, 8, dilations=(2, 3), dims=3)
    assert block(torch.rand(2, 2, 5, 7, 3)).shape == (2, 8, 5, 7, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 24}, "width is 24; with 4 dilations it is a multiple of 16"),
        ({"width": 0}, "width is 0; give a whole number"),
        ({"width": "16"}, "width is '16'"),
        ({"levels": True}, "levels is True"),
        ({"dilations": ()}, "dilations is ()"),
        ({"dilations": 3}, "dilations is 3; give whole numbers"),
        ({"dilations": (3, 0)}, r"dilations is \(3, 0\)"),
        ({"dilations": ("3",)}, "dilations is"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message.replace("()", r"\(\)")):
        SDUNet(**{"width": 16, **options})


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("size", [64, 256])
def test_each_of_the_family_learns_at_both_sizes(name, size):
    """One step down the gradient lowers the loss of the same images; nothing is NaN."""
    torch.manual_seed(0)
    model = create_model(name, **small_options(name)).train()
    images, labels = torch.rand(2, 1, size, size), torch.randint(0, 2, (2, size, size))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[0]


@pytest.mark.parametrize("name", FAMILY)
def test_each_of_the_family_can_be_saved_teach_and_be_exported(name, tmp_path: Path):
    torch.manual_seed(0)
    spec = ModelSpec(name, options=small_options(name), size=(64, 64))
    network, image = spec.build().eval(), torch.rand(2, 1, 64, 64)
    save_weights(network, spec, tmp_path / "weights.safetensors")
    with torch.no_grad():
        expected = network(image)
        found, again = load_model(tmp_path / "weights.safetensors")
        assert found == ModelSpec.from_json(spec.to_json())
        assert torch.equal(again(image), expected)
        torch.testing.assert_close(load_teacher(tmp_path / "weights.safetensors")(image), expected)
    torch.export.save(torch.export.export(network, (image,)), tmp_path / "network.pt2")
    torch.testing.assert_close(load_teacher(tmp_path / "network.pt2")(image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "least", "most"), [(name, 2.5e6, 12e6) for name in FAMILY])
def test_default_sizes(name, least, most):
    assert least < count_parameters(create_model(name)) < most
