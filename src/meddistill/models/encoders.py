"""Which modules of an encoder-decoder network are its encoder, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import nn

from meddistill.errors import ConfigError


class Step(NamedTuple):
    """One module of an encoder. Each gets the output of the one before, the first one gets the image.

    Args:
        module: what runs.
        kept: whether the decoder uses its output; else it has no weights and only leads to the next step.
    """

    module: nn.Module
    kept: bool = True


def encoder_steps(network: Any) -> list[Step]:
    """The encoder of a network that `create_model` builds, down to and including its deepest level.

    Args:
        network: the module of its library, without the coat of `SegmentationNetwork`.

    Raises:
        ConfigError: meddistill does not know where the encoder of this network ends.

    Example:
        >>> from meddistill.models.pcd_unet import PCDUNet
        >>> [type(step.module).__name__ for step in encoder_steps(PCDUNet(width=2))][:3]
        ['DoubleConv', 'MaxPool2d', 'DoubleConv']
    """
    kind = type(network)
    if kind.__module__.startswith("segmentation_models_pytorch."):
        return [Step(network.encoder)]
    if kind.__name__ not in _STEPS:
        raise ConfigError(
            f"meddistill does not know which part of {kind.__name__} is its encoder; "
            "take a network of list_models()"
        )
    return list(_STEPS[kind.__name__](network))


def _pcd_unet(network: Any) -> Iterator[Step]:
    yield Step(network.stem)
    for block in network.encoder:
        yield Step(network.pool, kept=False)
        yield Step(block)


def _confkd_unet(network: Any) -> Iterator[Step]:
    yield from map(Step, network.encoder)


def _u_shape(network: Any) -> Iterator[Step]:
    yield Step(network.encoder[0])
    for block in network.encoder[1:]:
        yield Step(network.pool, kept=False)
        yield Step(block)


def _basic_unet(network: Any) -> Iterator[Step]:
    for name in ("conv_0", "down_1", "down_2", "down_3", "down_4"):
        yield Step(getattr(network, name))


def _unet(network: Any) -> Iterator[Step]:
    """Levels lie within each other: a sequence of down, skip connection round the next level, up."""
    level = network.model
    while type(level) is nn.Sequential and hasattr(level[1], "submodule"):
        yield Step(level[0])
        level = level[1].submodule
    yield Step(level)


def _attention_unet(network: Any) -> Iterator[Step]:
    """A head, then levels within each other: an attention layer round a sequence of down and next level."""
    head, level, _ = network.model
    yield Step(head)
    while type(level.submodule) is nn.Sequential:
        down, level = level.submodule
        yield Step(down)
    yield Step(level.submodule)


def _segresnet(network: Any) -> Iterator[Step]:
    yield Step(network.convInit)
    if network.dropout_prob is not None:
        yield Step(network.dropout)
    yield from map(Step, network.down_layers)


def _dynunet(network: Any) -> Iterator[Step]:
    yield from map(Step, [network.input_block, *network.downsamples, network.bottleneck])


_STEPS: dict[str, Callable[[Any], Iterator[Step]]] = {
    "PCDUNet": _pcd_unet,
    "ConfKDUNet": _confkd_unet,
    "PlainUNet": _u_shape,
    "SDUNet": _u_shape,
    "BasicUNet": _basic_unet,
    "UNet": _unet,
    "AttentionUnet": _attention_unet,
    "SegResNet": _segresnet,
    "DynUNet": _dynunet,
}
