"""The front door to all networks: one function."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from meddistill.errors import ConfigError, MedDistillError
from meddistill.models.adapter import ClassificationNetwork, SegmentationNetwork
from meddistill.models.names import ModelName, resolve_name
from meddistill.models.options import as_tuples, check_options


def create_model(
    name: str, in_channels: int = 1, num_classes: int = 2, dims: int = 2, **options: Any
) -> SegmentationNetwork | ClassificationNetwork:
    """Build a network with random weights; nothing is downloaded.

    The network maps an image (B, in_channels, *S) in 0..1 to logits (B, num_classes, *S) of the same size.
    Any size works: an image whose sides are no multiples of what the network divides by, or too small for
    it, is padded with its edge values and the logits are cropped back. Those of timm answer once per image,
    with logits (B, num_classes).

    Args:
        name: a name of `list_models()`, for example `smp/unet`, `monai/segresnet` or `pcd/unet`; the class
            name in its library (`DeepLabV3Plus`) and any unique spelling (`linknet`) work too. Or `timm/NAME`
            with a name of timm, for example `timm/resnet18`.
        in_channels: image channels.
        num_classes: K, background included; 2 or more.
        dims: spatial axes, 2 or 3.
        **options: arguments of the network's class in its library, for example `encoder_name="resnet18"`
            (smp, any encoder, timm's behind `tu-`), `channels=(16, 32, 64)` (MONAI) or `width=32`
            (`pcd/unet`, `confkd/unet`); those of `nakt/*` are in docs/networks.md.

    Raises:
        ConfigError: an unknown name or option (the nearest ones are listed), a value that the network cannot
            be built with, or 3D asked of a 2D network.

    Example:
        >>> model = create_model("pcd/unet", in_channels=1, num_classes=3, width=4).eval()
        >>> model(torch.zeros(2, 1, 40, 56)).shape
        torch.Size([2, 3, 40, 56])
    """
    entry = resolve_name(name)
    _check_number("in_channels", in_channels, least=1)
    _check_number("num_classes", num_classes, least=2)
    if dims not in entry.dims or isinstance(dims, bool):
        allowed = " or ".join(f"dims={n}" for n in entry.dims)
        raise ConfigError(f"{entry.name} takes {allowed}, not dims={dims!r}; 3D networks: monai/*, nakt/unet")
    options = as_tuples(options)
    try:
        model = _build(entry, in_channels, num_classes, dims, dict(options))
        if isinstance(model, SegmentationNetwork):
            _try_out(model, in_channels, num_classes)
            sizes = {"in_channels": in_channels, "num_classes": num_classes, "dims": dims}
            model.arguments = {"name": entry.name, **sizes, **options}
    except MedDistillError:
        raise
    except Exception as error:  # the libraries raise all kinds of errors for values they cannot use
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"cannot build {entry.name} with {given}: {reason}") from error
    return model


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, trainable or not.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def same_architecture(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same weights by name and shape.

    Distilling one into the other is then called self-distillation.

    Example:
        >>> same_architecture(create_model("pcd/unet", width=2), create_model("pcd/unet", width=2))
        True
        >>> same_architecture(create_model("pcd/unet", width=2), create_model("pcd/unet", width=4))
        False
    """
    shapes = [
        {name: tuple(value.shape) for name, value in net.state_dict().items()} for net in (first, second)
    ]
    return shapes[0] == shapes[1]


def _build(
    entry: ModelName, in_channels: int, num_classes: int, dims: int, options: dict[str, Any]
) -> SegmentationNetwork | ClassificationNetwork:
    if entry.library == "timm":
        from meddistill.models.timm_models import build_timm

        return build_timm(entry, in_channels, num_classes, options)
    if entry.library == "smp":
        from meddistill.models.smp_models import build_smp

        return build_smp(entry, in_channels, num_classes, options)
    if entry.library == "monai":
        from meddistill.models.monai_models import build_monai

        return build_monai(entry, in_channels, num_classes, dims, options)
    if entry.library == "nakt":
        from meddistill.models.nakt_models import build_nakt

        return build_nakt(entry, in_channels, num_classes, dims, options)
    check_options(entry.name, options, ["width"])
    if entry.library == "confkd":
        from meddistill.models.confkd_unet import LEAST, ConfKDUNet

        unpadded = ConfKDUNet(in_channels, num_classes, **options)
        return SegmentationNetwork(unpadded, divisor=(1, 1), least=(LEAST, LEAST))
    from meddistill.models.pcd_unet import PCDUNet

    return SegmentationNetwork(PCDUNet(in_channels, num_classes, **options), divisor=(16, 16), least=(16, 16))


def _try_out(model: SegmentationNetwork, in_channels: int, num_classes: int) -> None:
    """Run the smallest image once: many wrong values only show then."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, in_channels, *model.least))
    if logits.shape[1] != num_classes:
        raise ConfigError(
            f"the options make the network answer with {logits.shape[1]} classes, not {num_classes}"
        )
    model.train()


def _check_number(what: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        hint = "; the background counts as one" if what == "num_classes" else ""
        raise ConfigError(f"{what} is {value!r}; give a whole number of {least} or more{hint}")
