"""Which module of a network turns its last features into logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from meddistill.errors import ConfigError


def head_modules(network: Any) -> list[nn.Module]:
    """The last layers of a network that `create_model` builds.

    Args:
        network: the module of its library, without the coat of `SegmentationNetwork`.

    Raises:
        ConfigError: meddistill does not know which layer of this network is the last.

    Example:
        >>> from meddistill.models.pcd_unet import PCDUNet
        >>> head_modules(PCDUNet(width=2))
        [Conv2d(2, 2, kernel_size=(1, 1), stride=(1, 1))]
    """
    kind = type(network)
    if kind.__module__.startswith("segmentation_models_pytorch."):
        return [network.segmentation_head]
    if kind.__module__.startswith("timm."):
        found = network.get_classifier()
        return [part for part in (found if isinstance(found, tuple) else (found,)) if list(part.parameters())]
    if kind.__name__ not in _HEADS:
        raise ConfigError(
            f"meddistill does not know which layer of {kind.__name__} is its last; "
            "take a network of list_models()"
        )
    return [_HEADS[kind.__name__](network)]


_HEADS: dict[str, Callable[[Any], nn.Module]] = {
    "PCDUNet": lambda network: network.head,
    "ConfKDUNet": lambda network: network.head,
    "PlainUNet": lambda network: network.head,
    "SDUNet": lambda network: network.head,
    "BasicUNet": lambda network: network.final_conv,
    "UNet": lambda network: network.model[2],
    "AttentionUnet": lambda network: network.model[2],
    "SegResNet": lambda network: network.conv_final,
    "DynUNet": lambda network: network.output_block,
}
