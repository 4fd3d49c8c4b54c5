"""Names of the networks, without importing the libraries that hold them."""

from __future__ import annotations

from dataclasses import dataclass

from meddistill.errors import ConfigError, nearest, unknown_name


@dataclass(frozen=True)
class ModelName:
    """A network that `create_model` can build.

    Args:
        name: canonical name, lower case, the library or the paper in front.
        class_name: name of its class; accepted as an alias of the first network that has it.
        dims: spatial axes it works on.
    """

    name: str
    class_name: str
    dims: tuple[int, ...]

    @property
    def library(self) -> str:
        """`smp`, `monai`, `pcd`, `confkd`, `nakt` or `timm`."""
        return self.name.partition("/")[0]

    @property
    def architecture(self) -> str:
        """The part behind the library, for example `unet`."""
        return self.name.partition("/")[2]


_SMP = (
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN"),
    *("UPerNet", "Segformer", "DPT"),
)
_MONAI = ("UNet", "BasicUNet", "AttentionUnet", "SegResNet", "DynUNet")

MODEL_NAMES: dict[str, ModelName] = {
    entry.name: entry
    for entry in (
        *(ModelName(f"smp/{name.lower()}", name, (2,)) for name in _SMP),
        *(ModelName(f"monai/{name.lower()}", name, (2, 3)) for name in _MONAI),
        ModelName("pcd/unet", "PCDUNet", (2,)),
        ModelName("confkd/unet", "ConfKDUNet", (2,)),
        ModelName("nakt/deeplabv3plus", "DeepLabV3Plus", (2,)),
        ModelName("nakt/unet", "PlainUNet", (2, 3)),
        ModelName("nakt/attention_unet", "AttentionUnet", (2, 3)),
        ModelName("nakt/sdunet", "SDUNet", (2, 3)),
        ModelName("nakt/panoptic_fpn", "FPN", (2,)),
    )
}


def list_models() -> list[str]:
    """Canonical names of all networks, sorted.

    Example:
        >>> from meddistill.models import list_models
        >>> [name for name in list_models() if name.endswith("/unet")]
        ['confkd/unet', 'monai/unet', 'nakt/unet', 'pcd/unet', 'smp/unet']
    """
    return sorted(MODEL_NAMES)


def resolve_name(name: str) -> ModelName:
    """The network that `name` means: canonical, a class name in exact case, or any unique spelling.

    A name behind `timm/` is taken as it is; whether timm has it shows when it is built. Of two networks of
    one class, such as `smp/fpn` and `nakt/panoptic_fpn`, a spelling of the class means the first.

    Raises:
        ConfigError: unknown (the nearest names are listed) or ambiguous (the candidates are listed).

    Example:
        >>> resolve_name("Unet").name, resolve_name("UNet").name, resolve_name("linknet").name
        ('smp/unet', 'monai/unet', 'smp/linknet')
    """
    if not isinstance(name, str):
        raise ConfigError(f"a model name is text, not {name!r}; for example 'smp/unet'")
    lower = name.lower()
    if lower.startswith("timm/"):
        return ModelName(lower, lower.removeprefix("timm/"), (2,))
    if lower in MODEL_NAMES:
        return MODEL_NAMES[lower]
    for entry in MODEL_NAMES.values():
        if name == entry.class_name:
            return entry
    loose: dict[str, ModelName] = {}
    for entry in MODEL_NAMES.values():
        if lower in (entry.class_name.lower(), entry.architecture):
            loose.setdefault(entry.class_name, entry)
    if len(loose) > 1:
        candidates = ", ".join(sorted(entry.name for entry in loose.values()))
        raise ConfigError(f"model {name!r} is ambiguous; give one of {candidates}")
    if not loose:
        classes = nearest(name, {entry.class_name for entry in MODEL_NAMES.values()})
        raise ConfigError(unknown_name("model", name, {*MODEL_NAMES, *classes}))
    return next(iter(loose.values()))
