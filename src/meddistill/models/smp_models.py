"""Networks of segmentation-models-pytorch, without any download."""

from __future__ import annotations

import inspect
from typing import Any

from meddistill.errors import ConfigError, unknown_name
from meddistill.models.adapter import SegmentationNetwork
from meddistill.models.names import ModelName
from meddistill.models.options import check_options, optional_parameters

_OURS = frozenset({"in_channels", "classes", "activation", "aux_params", "encoder_weights"})
_POOL_AND_NORMALISE = frozenset({"deeplabv3", "deeplabv3plus", "pan", "upernet"})


def build_smp(
    name: ModelName, in_channels: int, num_classes: int, options: dict[str, Any]
) -> SegmentationNetwork:
    """Build one network of segmentation-models-pytorch with random weights.

    Args:
        name: which one.
        in_channels: image channels.
        num_classes: K, background included.
        options: arguments of its class, for example `encoder_name`.

    Raises:
        ConfigError: an unknown option or encoder, or `encoder_weights` other than None.
    """
    import segmentation_models_pytorch as smp

    network_class = getattr(smp, name.class_name)
    if options.pop("encoder_weights", None) is not None:
        raise ConfigError(
            f"{name.name} is built without downloads: leave encoder_weights out, and load weights from a file"
        )
    known = optional_parameters(network_class, without=_OURS)
    check_options(name.name, options, known)
    encoder = options.get("encoder_name", inspect.signature(network_class).parameters["encoder_name"].default)
    _check_encoder(encoder)
    more = {"dynamic_img_size": True} if name.architecture == "dpt" else {}
    network = network_class(
        in_channels=in_channels, classes=num_classes, encoder_weights=None, **options, **more
    )
    stride = int(getattr(network.encoder, "output_stride", 32))
    divisor = stride if name.architecture != "dpt" else 2 * stride
    # The feature pyramid attention of PAN pools three times after the encoder.
    least = 8 * stride if name.architecture == "pan" else divisor
    return SegmentationNetwork(
        network,
        divisor=(divisor, divisor),
        least=(least, least),
        normalises_pooled=name.architecture in _POOL_AND_NORMALISE,
    )


def _check_encoder(encoder: Any) -> None:
    """Refuse an encoder that neither the library nor (behind `tu-`) timm has."""
    if not isinstance(encoder, str):
        raise ConfigError(f"encoder_name is text, not {encoder!r}; for example 'resnet34'")
    from segmentation_models_pytorch.encoders import encoders

    if encoder in encoders:
        return
    if not encoder.startswith("tu-"):
        raise ConfigError(unknown_name("encoder", encoder, encoders))
    import timm

    if not timm.is_model(encoder.removeprefix("tu-")):
        raise ConfigError(unknown_name("encoder", encoder, [f"tu-{name}" for name in timm.list_models()]))
