"""Frozen parts: which they are for every network, and that steps and passes leave them bit for bit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meddistill.errors import ConfigError
from meddistill.models import ModelSpec, count_trained, create_model, freeze, hold_frozen, list_models
from meddistill.models.encoders import encoder_steps
from meddistill.models.freezing import LAYERS
from meddistill.models.heads import head_modules
from meddistill.models.names import resolve_name
from tests.models.test_factory import small_options

NETWORKS = [(name, dims) for name in list_models() for dims in resolve_name(name).dims]
CLASSIFIERS = ["timm/test_resnet", "timm/test_vit", "timm/test_convnext"]
FORMS = ["dual_decoder", "mean_teacher", "twin"]


def built(name: str, dims: int = 2, **more) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, 1, 3, dims, **small_options(name), **more)


def step(network: nn.Module, dims: int = 2, size: int = 32) -> None:
    """One step of training on noise, with weight decay, as `fit` takes it."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    image = torch.rand(2, 1, *(size, size, 16)[:dims], generator=torch.Generator().manual_seed(1))
    network(image).square().mean().backward()
    optimizer.step()


def moved(network: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def names_below(modules, network: nn.Module) -> set[str]:
    """Names of the weights and buffers of some modules of a network."""
    paths = {id(module): name for name, module in network.named_modules()}
    return {f"{paths[id(part)]}.{key}" for part in modules for key in part.state_dict()}


@pytest.mark.parametrize(("name", "dims"), NETWORKS, ids=lambda value: str(value))
def test_the_encoder_of_every_network_stays_as_it_is(name, dims):
    network = built(name, dims)
    encoder = names_below((part.module for part in encoder_steps(network.network)), network)
    before, frozen = state(network), freeze(network, "decoder")
    network.train()
    hold_frozen(network, frozen)
    step(network, dims)
    changed = moved(network, before)
    assert changed
    assert not changed & encoder
    weights = dict(network.named_parameters())
    assert {key for key, p in weights.items() if p.requires_grad} == weights.keys() - encoder
    assert all(p.grad is None for key, p in weights.items() if key in encoder)
    assert network.training


@pytest.mark.parametrize(("name", "dims"), NETWORKS, ids=lambda value: str(value))
def test_the_head_of_every_network_is_what_alone_is_trained(name, dims):
    """Its last layer puts out the logits and is smaller than the decoder."""
    network, whole = built(name, dims), built(name, dims)
    freeze(whole, "decoder")
    before, frozen = state(network), freeze(network, "head")
    network.train()
    hold_frozen(network, frozen)
    step(network, dims)
    trained = {key for key, p in network.named_parameters() if p.requires_grad}
    assert trained == moved(network, before) & dict(network.named_parameters()).keys()
    heads = {id(part) for head in head_modules(network.network) for part in head.modules()}
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    assert all(module.training == (id(module) in heads) for module in norms)
    assert any(p.shape[0] == 3 or p.shape[1:2] == (3,) for p in network.parameters() if p.requires_grad)
    assert 0 < count_trained(network) < count_trained(whole)


@pytest.mark.parametrize("layers", ["decoder", "head"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_classifier_of_networks_that_answer_once(name, layers):
    torch.manual_seed(0)
    network = create_model(name, num_classes=3)
    before, frozen = state(network), freeze(network, layers)
    network.train()
    hold_frozen(network, frozen)
    step(network, size=160)
    parts = [network.network.get_classifier()]
    assert moved(network, before) == names_below(parts, network)
    assert count_trained(network) == sum(p.numel() for p in parts[0].parameters())


@pytest.mark.parametrize("layers", ["decoder", "head"])
@pytest.mark.parametrize("form", FORMS)
def test_every_branch_of_a_form_is_frozen(form, layers):
    network = ModelSpec("pcd/unet", options={"width": 8}, form=form).build()
    before, frozen = state(network), freeze(network, layers)
    network.train()
    hold_frozen(network, frozen)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    images = torch.rand(4, 1, 32, 32)
    answers = (
        network.branches_of(images)
        if form == "dual_decoder"
        else [getattr(network, b)(images) for b in network.branches]
    )
    sum(answer.square().mean() for answer in answers).backward()
    optimizer.step()
    if form == "mean_teacher":
        network.update(0.5)
    changed = moved(network, before) - {"updates"}
    weights = {key.partition("network.")[2] for key in changed}
    if layers == "head":
        assert weights == {"head.weight", "head.bias"}
    else:
        assert not any(key.startswith(("stem", "encoder")) for key in weights)
    count = 1 if form == "mean_teacher" else 2
    single = ModelSpec("pcd/unet", options={"width": 8}).build()
    freeze(single, layers)
    assert count_trained(network) == count * count_trained(single)


def test_holding_outlives_a_change_of_mode_and_of_the_layers():
    """Also where batch normalisation was replaced by the synchronised kind, under the same names."""
    network = built("smp/fpn")
    frozen = freeze(network, "decoder")
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network.train()
    assert network.get_submodule(frozen[0]).training
    hold_frozen(network, frozen)
    assert not any(module.training for module in network.get_submodule(frozen[0]).modules())
    assert network.network.decoder.training


def test_nothing_is_frozen_where_all_is_trained():
    network = built("pcd/unet")
    whole = count_trained(network)
    assert freeze(network, "all") == ()
    assert count_trained(network) == whole


def test_a_frozen_network_of_batch_normalisation_trains_on_a_lone_image():
    """Which no batch statistics can be taken of."""
    network = built("nakt/unet")
    with pytest.raises(ConfigError, match="cannot train on one image"):
        network.train()(torch.rand(1, 1, 16, 16))
    frozen = freeze(network, "head")
    hold_frozen(network.train(), frozen)
    assert network(torch.rand(1, 1, 16, 16)).requires_grad


@pytest.mark.parametrize("layers", [name for name in LAYERS if name != "all"])
def test_other_networks_and_other_words_are_refused(layers):
    with pytest.raises(ConfigError, match="layers of Conv2d are unknown; take a network of create_model"):
        freeze(nn.Conv2d(1, 2, 1), layers)
    with pytest.raises(ConfigError, match="unknown layers 'encoder'; did you mean 'decoder'"):
        freeze(built("pcd/unet"), "encoder")
