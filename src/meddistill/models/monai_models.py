"""Networks of MONAI in 2D and 3D, with default widths and strides where MONAI has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from meddistill.errors import ConfigError
from meddistill.models.adapter import SegmentationNetwork
from meddistill.models.names import ModelName
from meddistill.models.options import check_options, optional_parameters

_OURS = frozenset({"spatial_dims", "in_channels", "out_channels"})
_CHANNELS = (16, 32, 64, 128, 256)


def build_monai(
    name: ModelName, in_channels: int, num_classes: int, dims: int, options: dict[str, Any]
) -> SegmentationNetwork:
    """Build one network of MONAI.

    Args:
        name: which one.
        in_channels: image channels.
        num_classes: K, background included.
        dims: 2 or 3.
        options: arguments of its class. `unet` and `attentionunet` default to `channels` 16-32-64-128-256
            (and `unet` to 2 residual units) with `strides` of 2; `dynunet` to five levels with `strides`
            1-2-2-2-2, kernels of 3 and `upsample_kernel_size` equal to the strides.

    Raises:
        ConfigError: an unknown option, or strides that are no numbers.
    """
    from monai.networks import nets

    network_class = getattr(nets, name.class_name)
    check_options(name.name, options, optional_parameters(network_class, without=_OURS))
    complete, downsampling = _COMPLETE[name.architecture]
    options = complete(options)
    divisor = _divisor(downsampling(options), dims)
    network = network_class(spatial_dims=dims, in_channels=in_channels, out_channels=num_classes, **options)
    # Instance normalisation needs more than one element at the deepest level.
    return SegmentationNetwork(network, divisor=divisor, least=[2 * n for n in divisor])


def _complete_unet(options: dict[str, Any]) -> dict[str, Any]:
    return {"num_res_units": 2, **_complete_attention_unet(options)}


def _complete_attention_unet(options: dict[str, Any]) -> dict[str, Any]:
    channels = options.get("channels", _CHANNELS)
    return {"channels": channels, "strides": (2,) * (len(channels) - 1), **options}


def _complete_dynunet(options: dict[str, Any]) -> dict[str, Any]:
    levels = options.get("kernel_size") or options.get("filters") or _CHANNELS
    strides = options.get("strides", (1, *(2,) * (len(levels) - 1)))
    given = {
        "kernel_size": (3,) * len(strides),
        "strides": strides,
        "upsample_kernel_size": tuple(strides[1:]),
    }
    return {**given, **options}


def _strides(options: dict[str, Any]) -> Sequence[Any]:
    strides: Sequence[Any] = options["strides"]
    return strides


def _segresnet_strides(options: dict[str, Any]) -> Sequence[Any]:
    return (2,) * (len(options.get("blocks_down", (1, 2, 2, 4))) - 1)


_Complete = Callable[[dict[str, Any]], dict[str, Any]]
_Downsampling = Callable[[dict[str, Any]], Sequence[Any]]
_COMPLETE: dict[str, tuple[_Complete, _Downsampling]] = {
    "unet": (_complete_unet, _strides),
    "attentionunet": (_complete_attention_unet, _strides),
    "basicunet": (dict, lambda _: (2, 2, 2, 2)),
    "segresnet": (dict, _segresnet_strides),
    "dynunet": (_complete_dynunet, _strides),
}


def _divisor(strides: Sequence[Any], dims: int) -> list[int]:
    """Product of the strides for each axis; a stride is a number, or one number an axis."""
    by_axis = [tuple(stride) if isinstance(stride, tuple) else (stride,) * dims for stride in strides]
    if any(
        len(stride) != dims or not all(isinstance(n, int) and n > 0 for n in stride) for stride in by_axis
    ):
        raise ConfigError(
            f"strides {strides!r} are not whole numbers above 0, or {dims} of them for each level"
        )
    return [math.prod(stride[axis] for stride in by_axis) for axis in range(dims)]
