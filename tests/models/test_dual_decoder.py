"""One encoder, two decoders: the same answers as the plain network, and no more work than is needed."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from meddistill.errors import ConfigError
from meddistill.models import (
    DualDecoder,
    ModelSpec,
    branch_of,
    branches_of,
    count_parameters,
    create_model,
    dual_decoder,
    list_models,
    load_model,
    save_weights,
)
from meddistill.models.dual_decoder import ALL, NONE
from meddistill.models.encoders import encoder_steps
from meddistill.models.names import resolve_name
from meddistill.training.hardware import set_layout
from tests.models.test_factory import small_options

FLAT = [(name, 2) for name in list_models()]
DEEP = [(name, 3) for name in list_models() if 3 in resolve_name(name).dims]


@pytest.fixture(scope="module", params=FLAT + DEEP, ids=lambda param: f"{param[0]}-{param[1]}d")
def built(request) -> tuple[nn.Module, DualDecoder, int]:
    """A network and the same one with a second decoder; the tests leave their weights as they are."""
    name, dims = request.param
    torch.manual_seed(0)
    model = create_model(name, in_channels=1, num_classes=3, dims=dims, **small_options(name))
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d | nn.Dropout3d):
            module.p = 0.0
    return model, dual_decoder(model), dims


def small(name: str = "pcd/unet", **options) -> DualDecoder:
    torch.manual_seed(0)
    return dual_decoder(create_model(name, **(options or small_options(name))))


def images(dims: int, count: int = 3) -> torch.Tensor:
    return torch.rand(count, 1, *(33, 40, 18)[:dims], generator=torch.Generator().manual_seed(1))


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def decoder_weights(network: DualDecoder, branch: str) -> dict[str, torch.Tensor]:
    return getattr(network, branch).state_dict()


def test_every_network_gets_a_second_decoder(built):
    model, network, dims = built[0].eval(), built[1].eval(), built[2]
    image, rows, runs = images(dims), torch.tensor([2, 0]), []
    counter = network.encoder[0].register_forward_hook(lambda *_: runs.append(1))
    own = copy.deepcopy(network.upper.state_dict())
    with torch.no_grad():
        expected = model(image)
        upper, lower = network.branches_of(image, upper=rows)
        assert len(runs) == 1
        close(lower, expected)
        assert upper.shape == (2, 3, *image.shape[2:])
        assert not torch.allclose(upper, expected[rows], rtol=1e-2)
        network.upper.load_state_dict(network.lower.state_dict())
        upper, lower = network.branches_of(image, upper=rows, lower=slice(1, 3))
        close(upper, expected[rows])
        close(lower, expected[1:])
    counter.remove()
    network.upper.load_state_dict(own)


def test_no_weight_is_held_twice_and_each_learns(built):
    model, network, dims = built[0].train(), built[1].train(), built[2]
    encoder = [p for step in encoder_steps(model.network) for p in step.module.parameters()]
    shared = sum(p.numel() for p in encoder)
    assert 0 < shared < count_parameters(model)
    assert count_parameters(network) == 2 * count_parameters(model) - shared
    model.zero_grad()
    network.zero_grad()
    upper, lower = network.branches_of(images(dims, 4), upper=slice(0, 2))
    (upper.square().mean() + lower.square().mean()).backward()
    model(images(dims, 4)).square().mean().backward()
    used = [p.grad is not None for p in model.parameters()]  # some networks hold weights that they never use
    used_of_encoder = sum(p.grad is not None for p in encoder)
    assert sum(p.grad is not None for p in network.parameters()) == 2 * sum(used) - used_of_encoder


def test_each_decoder_gets_the_gradient_of_its_own_branch_alone():
    network = small()
    upper, _ = network.branches_of(images(2), upper=slice(0, 2))
    upper.square().mean().backward()
    assert all(p.grad is None for p in network.lower.parameters())
    for part in (network.encoder, network.upper):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())


def test_a_decoder_that_is_asked_for_nothing_does_not_run():
    network, image = small(), images(2)
    for name in network.branches:
        branch = getattr(network, name)
        handle = branch.register_forward_hook(lambda *_: pytest.fail("it ran"))
        answer = network.branches_of(image, **{name: torch.tensor([], dtype=torch.long)})
        assert getattr(answer, name).shape == (0, 2, *image.shape[2:])
        handle.remove()
    with pytest.raises(ConfigError, match="neither decoder is asked"):
        network.branches_of(image, upper=NONE, lower=NONE)


def test_batch_statistics_of_a_decoder_are_those_of_its_own_images():
    network = small()
    before = copy.deepcopy(network)
    image = images(2, 4)
    network.branches_of(image, upper=slice(0, 2))
    before.branches_of(image[:2])
    means = [
        [value for key, value in decoder_weights(each, "upper").items() if key.endswith("running_mean")]
        for each in (network, before)
    ]
    assert means[0]
    assert not all(torch.equal(*pair) for pair in zip(*means, strict=True))  # the encoder's statistics differ
    norm = next(m for m in network.upper.modules() if isinstance(m, nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 1


def test_rows_as_a_slice_or_as_numbers_are_the_same():
    network, image = small().eval(), images(2, 4)
    for rows, numbers in ((slice(1, 3), [1, 2]), (ALL, [0, 1, 2, 3])):
        torch.testing.assert_close(
            network.branches_of(image, upper=rows), network.branches_of(image, upper=torch.tensor(numbers))
        )


def test_the_second_decoder_starts_elsewhere_and_the_network_is_left_alone():
    model = create_model("pcd/unet", width=4)
    before = copy.deepcopy(model.state_dict())
    network = dual_decoder(model)
    pairs = zip(network.upper.parameters(), network.lower.parameters(), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_weights():
    first, second = small().state_dict(), small().state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_copy_is_a_network_of_its_own():
    network, image = small().eval(), images(2)
    answer = network.branches_of(image)
    twin = copy.deepcopy(network)
    torch.testing.assert_close(twin.branches_of(image), answer)
    with torch.no_grad():
        next(twin.upper.parameters()).add_(1.0)
    torch.testing.assert_close(network.branches_of(image), answer)
    assert not torch.equal(twin.branches_of(image).upper, answer.upper)


def test_weights_files_rebuild_both_decoders(tmp_path: Path):
    spec = ModelSpec("smp/fpn", options={"encoder_name": "resnet18"}, form="dual_decoder")
    network, image = spec.build().eval(), images(2)
    save_weights(network, spec, tmp_path / "w.safetensors")
    found, again = load_model(tmp_path / "w.safetensors")
    assert found == spec
    with torch.no_grad():
        for name in ("upper", "lower"):
            assert torch.equal(branch_of(again, name)(image), branch_of(network, name)(image))
        assert torch.equal(again(image), branch_of(again, "lower")(image))
    assert branches_of(again) == ("lower", "upper")


def test_one_graph_of_torch_compile_holds_both_decoders():
    torch._dynamo.reset()
    network, image = small().eval(), images(2, 4)
    chosen = (slice(0, 2), torch.tensor([3]))
    expected = [network.branches_of(image, upper=rows) for rows in chosen]
    network.compile(backend="eager", fullgraph=True, dynamic=False)
    for rows, answer in zip(chosen, expected, strict=True):
        torch.testing.assert_close(network.branches_of(image, upper=rows), answer)
    assert network.memory.features == []


def test_channels_last_and_bfloat16_agree():
    network, image = small("monai/basicunet").eval(), images(2)
    with torch.no_grad():
        expected = network.branches_of(image, upper=torch.tensor([0, 2]))
        set_layout(2, network)
        torch.testing.assert_close(
            network.branches_of(image, upper=torch.tensor([0, 2])), expected, rtol=1e-3, atol=1e-4
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network.branches_of(image, upper=torch.tensor([0, 2]))
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 0.1 * other.abs().max() + 0.05


def test_networks_without_a_known_encoder_are_refused():
    with pytest.raises(ConfigError, match="encoder-decoder network of create_model"):
        dual_decoder(create_model("timm/resnet18"))
    with pytest.raises(ConfigError, match="encoder-decoder network of create_model"):
        dual_decoder(nn.Conv2d(1, 2, 1))
    with pytest.raises(ConfigError, match="which part of Conv2d is its encoder"):
        encoder_steps(nn.Conv2d(1, 2, 1))


def test_there_is_no_third_branch():
    with pytest.raises(ConfigError, match="unknown branch 'uper'; did you mean 'upper'"):
        small().branch("uper")
