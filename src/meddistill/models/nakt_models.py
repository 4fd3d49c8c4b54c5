"""The five networks of network-agnostic knowledge transfer (NAKT), at sizes for small grey images.

Source: Wang et al., arXiv 2101.09560, which transfers between DeepLabV3+, U-Net, attention U-Net, SDU-Net and
Panoptic FPN. The U-Net and the SDU-Net are ours, the others those of segmentation-models-pytorch and MONAI.
"""

from __future__ import annotations

from typing import Any

from meddistill.models.adapter import SegmentationNetwork
from meddistill.models.names import ModelName
from meddistill.models.options import check_options

_DEEPLAB = {"encoder_name": "resnet18", "decoder_channels": 64}
_FPN = {"encoder_name": "resnet18", "decoder_pyramid_channels": 128, "decoder_segmentation_channels": 64}
_SHAPE = {"width": 32, "levels": 5}
_ATTENTION = ("dropout", "kernel_size", "up_kernel_size")


def build_nakt(
    name: ModelName, in_channels: int, num_classes: int, dims: int, options: dict[str, Any]
) -> SegmentationNetwork:
    """Build one network of the family with random weights.

    Args:
        name: which one.
        in_channels: image channels.
        num_classes: K, background included.
        dims: 2, or 3 for `unet`, `sdunet` and `attention_unet`.
        options: `width` (channels of the first level, 32) and `levels` (5) of those three, `dilations` of
            `sdunet`, and `dropout`, `kernel_size` and `up_kernel_size` of `attention_unet`; for
            `deeplabv3plus` and `panoptic_fpn` the arguments of their classes, of which `encoder_name` is
            resnet18 and the channels of the decoder are fewer than the library's.

    Raises:
        ConfigError: an unknown option, or one that the network cannot be built with.
    """
    if name.architecture in ("deeplabv3plus", "panoptic_fpn"):
        from meddistill.models.smp_models import build_smp

        defaults = _DEEPLAB if name.architecture == "deeplabv3plus" else _FPN
        return build_smp(name, in_channels, num_classes, {**defaults, **options})
    more = {"sdunet": ("dilations",), "attention_unet": _ATTENTION}.get(name.architecture, ())
    check_options(name.name, options, [*_SHAPE, *more])
    options = {**_SHAPE, **options}
    if name.architecture == "attention_unet":
        return _attention_unet(in_channels, num_classes, dims, options)
    from meddistill.models.sdunet import PlainUNet, SDUNet

    network_class = SDUNet if name.architecture == "sdunet" else PlainUNet
    network = network_class(in_channels, num_classes, dims, **options)
    divisor = (2 ** (options["levels"] - 1),) * dims
    return SegmentationNetwork(network, divisor=divisor, least=divisor)


def _attention_unet(
    in_channels: int, num_classes: int, dims: int, options: dict[str, Any]
) -> SegmentationNetwork:
    from meddistill.models.monai_models import build_monai
    from meddistill.models.sdunet import level_widths

    channels = level_widths(options.pop("width"), options.pop("levels"))
    entry = ModelName("monai/attentionunet", "AttentionUnet", (2, 3))
    return build_monai(entry, in_channels, num_classes, dims, {"channels": channels, **options})
