"""A way around a fault of PyTorch on CPUs: wrong bfloat16 gradients of convolutions over narrow maps.

Where a map is narrower than the stride of a convolution, oneDNN leaves a part of the gradient of its weights
unwritten, so that it holds whatever was in memory: another one in each run, sometimes NaN. Seen with PyTorch
2.12.1 on a processor with AMX, in bfloat16 alone and along the last axis alone.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def widen_narrow_maps(network: nn.Module) -> None:
    """Let strided convolutions see maps that are at least as wide as their stride.

    What is added are zeros beside the zeros that a convolution pads with, so that its output is the same.

    Args:
        network: gets a hook at each convolution that may need it; subclasses, which may pad by themselves,
            and other kinds of padding are left alone.

    Example:
        >>> import torch
        >>> network = nn.Conv2d(1, 1, 3, stride=2, padding=1)
        >>> before = network(torch.ones(1, 1, 1, 1))
        >>> widen_narrow_maps(network)
        >>> torch.equal(network(torch.ones(1, 1, 1, 1)), before)
        True
    """
    for module in network.modules():
        if type(module) not in _CONVOLUTIONS or not isinstance(module, _CONVOLUTIONS):
            continue
        if module.stride[-1] > 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module.register_forward_pre_hook(_widened)


def _widened(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """The map with zeros at its end, up to the stride, where it is narrower and they change nothing."""
    assert isinstance(module, _CONVOLUTIONS)
    image, stride = inputs[0], module.stride[-1]
    width = image.shape[-1]
    if width >= stride or not _answers(module, width) == _answers(module, stride) >= 1:
        return None
    return (pad(image, (0, stride - width)),)


def _answers(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, width: int) -> int:
    """How wide the output is for a map of this width."""
    reach = module.dilation[-1] * (module.kernel_size[-1] - 1) + 1
    return (width + 2 * int(module.padding[-1]) - reach) // module.stride[-1] + 1
