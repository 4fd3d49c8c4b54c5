"""Training a part of a network only: the rest keeps its weights and its batch statistics bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from meddistill.errors import ConfigError, unknown_name
from meddistill.models.adapter import ClassificationNetwork, SegmentationNetwork
from meddistill.models.compound import Compound
from meddistill.models.dual_decoder import DualDecoder
from meddistill.models.encoders import encoder_steps
from meddistill.models.heads import head_modules

LAYERS = ("all", "decoder", "head")
"""What may be trained: everything, all but the encoder, or the last layer."""


def freeze(network: nn.Module, layers: str) -> tuple[str, ...]:
    """Freeze all of `network` but the `layers` to train; `hold_frozen` keeps it so.

    Frozen weights want no gradient. Frozen modules stay in evaluation mode: their batch statistics stay as
    they are, and dropout is off.

    Args:
        network: of `create_model`, or of such networks in one of their forms.
        layers: `all` freezes nothing, `decoder` the encoder, `head` everything but the last layer. Of a
            network that answers once per image both leave the classifier.

    Returns:
        Names of the frozen modules, none of which lies within another.

    Raises:
        ConfigError: an unknown name of layers, or a network that did not come from `create_model`.

    Example:
        >>> from meddistill.models import create_model
        >>> network = create_model("nakt/unet", width=2, levels=2)
        >>> freeze(network, "decoder")
        ('network.encoder.0', 'network.encoder.1')
        >>> freeze(network, "head")
        ('network.encoder', 'network.up', 'network.decoder', 'network.pool')
        >>> network.network.head.weight.requires_grad, network.network.head.training
        (True, True)
    """
    if layers not in LAYERS:
        raise ConfigError(unknown_name("layers", layers, LAYERS))
    if layers == "all":
        return ()
    if layers == "decoder" and not isinstance(network, ClassificationNetwork):
        frozen = list(_encoders(network))
        trained = _other_weights(network, frozen)
    else:
        heads = list(_heads(network))
        frozen = list(_without(network, {id(head) for head in heads}))
        trained = [p for head in heads for p in head.parameters()]
    wanted = {id(p) for p in trained}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.requires_grad and id(parameter) in wanted)
    names = {id(module): name for name, module in network.named_modules()}
    found = tuple(names[id(module)] for module in frozen)
    hold_frozen(network, found)
    return found


def hold_frozen(network: nn.Module, frozen: Iterable[str]) -> None:
    """Bring frozen modules back to evaluation mode, which `network.train()` has ended.

    Args:
        network: the one that `freeze` was given, also compiled or with synchronised batch normalisation.
        frozen: names that `freeze` returned.
    """
    for name in frozen:
        network.get_submodule(name).eval()


def count_trained(network: nn.Module) -> int:
    """Number of parameters that want a gradient.

    Example:
        >>> count_trained(nn.Linear(3, 2).requires_grad_(False))
        0
    """
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _encoders(network: nn.Module) -> Iterator[nn.Module]:
    """The modules of the encoder, or of those of all branches."""
    if isinstance(network, DualDecoder):
        yield network.encoder
    elif isinstance(network, Compound):
        for name in network.branches:
            yield from _encoders(getattr(network, name))
    else:
        yield from (step.module for step in encoder_steps(_inner(network)) if step.kept)


def _heads(network: nn.Module) -> Iterator[nn.Module]:
    """The last layers, of all branches."""
    if isinstance(network, Compound):
        for name in network.branches:
            yield from _heads(getattr(network, name))
    else:
        yield from head_modules(_inner(network))


def _inner(network: nn.Module) -> nn.Module:
    """The network of its library."""
    if not isinstance(network, SegmentationNetwork | ClassificationNetwork):
        raise ConfigError(f"layers of {type(network).__name__} are unknown; take a network of create_model")
    return network.network


def _without(module: nn.Module, kept: set[int]) -> Iterator[nn.Module]:
    """The largest modules in `module` that hold none of the kept ones."""
    for child in module.children():
        if id(child) in kept:
            continue
        if any(id(part) in kept for part in child.modules()):
            yield from _without(child, kept)
        else:
            yield child


def _other_weights(network: nn.Module, modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    """The parameters of `network` that are not those of `modules`."""
    theirs = {id(p) for module in modules for p in module.parameters()}
    return [p for p in network.parameters() if id(p) not in theirs]
