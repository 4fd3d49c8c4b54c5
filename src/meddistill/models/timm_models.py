"""Networks of timm that answer once per image, without any download."""

from __future__ import annotations

from typing import Any

from meddistill.errors import ConfigError, unknown_name
from meddistill.models.adapter import ClassificationNetwork
from meddistill.models.names import ModelName

_OURS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


def build_timm(
    name: ModelName, in_channels: int, num_classes: int, options: dict[str, Any]
) -> ClassificationNetwork:
    """Build one network of timm with random weights.

    Args:
        name: which one.
        in_channels: image channels.
        num_classes: K.
        options: arguments of its class, for example `img_size` or `drop_rate`.

    Raises:
        ConfigError: an unknown name, or an option that asks for a download or a file.
    """
    import timm

    if not timm.is_model(name.architecture):
        raise ConfigError(unknown_name("model", name.name, [f"timm/{known}" for known in timm.list_models()]))
    refused = [option for option in options if option in _OURS]
    if refused:
        raise ConfigError(
            f"{name.name} is built without downloads: leave {refused[0]} out, and load weights from a file"
        )
    network = timm.create_model(
        name.architecture, pretrained=False, in_chans=in_channels, num_classes=num_classes, **options
    )
    config = network.default_cfg
    fixed = config.get("fixed_input_size", False)
    size = options.get("img_size", config["input_size"][1:])
    return ClassificationNetwork(
        network, fixed_size=((size, size) if isinstance(size, int) else size) if fixed else None
    )
