"""One encoder with two decoders, made of any encoder-decoder network.

The encoder's modules are taken out of the network and run once, one after another. Each decoder is a copy of
the network in which a module without weights stands in the place of each of them and hands on what the
encoder put out there. So a decoder runs as its library wrote it, on no more images than it is asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from meddistill.errors import ConfigError
from meddistill.models.adapter import SegmentationNetwork, cropped
from meddistill.models.compound import Compound
from meddistill.models.encoders import Step, encoder_steps
from meddistill.models.factory import create_model

Rows = Tensor | slice
"""Which images of a batch: their indices, or a slice of them, which needs no copy."""

ALL, NONE = slice(None), slice(0, 0)


class DualLogits(NamedTuple):
    """Logits (rows, K, *S) of the two branches, each for the images that it was asked for."""

    upper: Tensor
    lower: Tensor


class DualDecoder(Compound):
    """A shared encoder, an upper and a lower decoder; `dual_decoder` makes it.

    Called with an image it answers with the lower decoder's logits, which are those to use.

    Args:
        encoder: its modules, see `encoder_steps`.
        lower: network in which `Replay` modules stand for the encoder.
        upper: the same with other weights.
        memory: from which both replay.
    """

    branches = ("lower", "upper")

    def __init__(
        self,
        encoder: Sequence[Step],
        lower: SegmentationNetwork,
        upper: SegmentationNetwork,
        memory: Memory,
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(step.module for step in encoder)
        self.kept = tuple(step.kept for step in encoder)
        self.lower = lower
        self.upper = upper
        self.memory = memory

    def forward(self, image: Tensor, chosen: tuple[Rows, Rows] | None = None) -> Any:
        """Logits (B, K, *S) of the lower branch; with `chosen` rows of the upper and lower one, `DualLogits`.

        Only the upper decoder runs when the rows of the lower one are `NONE`, and the other way round.
        """
        padded = self.lower.padded(image)
        features = self._encode(padded)
        size = image.shape[2:]
        if chosen is None:
            return cropped(self._decode(self.lower, padded, features, ALL), size)
        upper, lower = (
            [] if _is_none(rows) else [cropped(self._decode(branch, padded, features, rows), size)]
            for branch, rows in zip((self.upper, self.lower), chosen, strict=True)
        )
        return DualLogits(*(upper or [lower[0][:0]]), *(lower or [upper[0][:0]]))

    def branches_of(self, image: Tensor, *, upper: Rows = ALL, lower: Rows = ALL) -> DualLogits:
        """Logits of both branches, each for the images that it is asked for.

        Args:
            image: (B, C, *S); the encoder runs on all of it, once.
            upper: images that the upper decoder answers.
            lower: images that the lower decoder answers.

        Raises:
            ConfigError: no image at all is asked for, or the image does not fit the network.

        Example:
            >>> import torch
            >>> network = dual_decoder(create_model("pcd/unet", width=2))
            >>> upper, lower = network.branches_of(torch.zeros(4, 1, 16, 16), upper=slice(0, 2))
            >>> len(upper), len(lower)
            (2, 4)
        """
        if _is_none(upper) and _is_none(lower):
            raise ConfigError("neither decoder is asked for an image; give rows of upper or lower")
        answer: DualLogits = self(image, (upper, lower))
        return answer

    def _branch(self, name: str) -> nn.Module:
        return _OneBranch(self, name)

    def parts(self) -> list[nn.Module]:
        """The network itself: both decoders belong to one graph."""
        return [self]

    def _encode(self, path: Tensor) -> list[Any]:
        features: list[Any] = []
        output: Any = path
        for module, kept in zip(self.encoder, self.kept, strict=True):
            output = module(output)
            if kept:
                features.append(output)
        return features

    def _decode(self, branch: SegmentationNetwork, padded: Tensor, features: list[Any], rows: Rows) -> Tensor:
        self.memory.features = [_take(feature, rows) for feature in features]
        try:
            logits: Tensor = branch(_take(padded, rows))
        finally:
            self.memory.features = []
        return logits


def dual_decoder(model: nn.Module) -> DualDecoder:
    """The network with a second decoder on its encoder.

    The lower decoder starts with the weights of `model`, the upper one with random weights of its own, drawn
    from torch's generator. `model` is left as it is.

    A decoder that is asked for no image leaves no gradient at its weights. Training in several processes
    (DDP) waits for all of them, so every process needs a fully labelled case in each of its batches.

    Args:
        model: an encoder-decoder network of `create_model`, 2D or 3D.

    Raises:
        ConfigError: `model` answers once per image, or did not come from `create_model`.

    Example:
        >>> import torch
        >>> model = create_model("monai/basicunet", dims=3, features=(4, 4, 4, 4, 4, 4)).eval()
        >>> network, volume = dual_decoder(model).eval(), torch.rand(1, 1, 16, 16, 16)
        >>> torch.equal(network(volume), model(volume))
        True
    """
    if not isinstance(model, SegmentationNetwork) or model.arguments is None:
        raise ConfigError("a second decoder needs an encoder-decoder network of create_model")
    first, second = copy.deepcopy(model), create_model(**model.arguments)
    assert isinstance(second, SegmentationNetwork)
    memory, steps = Memory(), encoder_steps(first.network)
    return DualDecoder(
        steps,
        _replaying(first, steps, memory),
        _replaying(second, encoder_steps(second.network), memory),
        memory,
    )


class Memory:
    """What the encoder put out, for the rows of the decoder that runs."""

    def __init__(self) -> None:
        self.features: list[Any] = []


class Replay(nn.Module):
    """Stands in the place of a module of the encoder and hands on what that one put out.

    Args:
        memory: shared with the others.
        key: position of the module among those whose output is kept.
        part: the module; networks ask it for its `output_stride`.
    """

    def __init__(self, memory: Memory, key: int, part: nn.Module) -> None:
        super().__init__()
        self.memory = memory
        self.key = key
        self.output_stride = getattr(part, "output_stride", None)

    def forward(self, *_: Any) -> Any:
        """What the module put out, whatever the input."""
        return self.memory.features[self.key]


class _OneBranch(nn.Module):
    """From an image to the logits of one branch."""

    def __init__(self, network: DualDecoder, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    def forward(self, image: Tensor) -> Tensor:
        other = {name: NONE for name in self.network.branches if name != self.name}
        logits: Tensor = getattr(self.network.branches_of(image, **other), self.name)
        return logits


def _replaying(model: SegmentationNetwork, steps: Sequence[Step], memory: Memory) -> SegmentationNetwork:
    """A copy of `model` with a `Replay` in the place of each module of its encoder."""
    parts = [step.module for step in steps if step.kept]
    memo: dict[int, Any] = {id(memory): memory}
    memo |= {id(part): Replay(memory, key, part) for key, part in enumerate(parts)}
    return copy.deepcopy(model, memo)


def _take(value: Any, rows: Rows) -> Any:
    """The rows of a feature, or of each one in a list or tuple of them."""
    if isinstance(value, list | tuple):
        return type(value)(_take(item, rows) for item in value)
    return value if value is None or _is_all(rows) else value[rows]


def _is_all(rows: Rows) -> bool:
    return isinstance(rows, slice) and rows == ALL


def _is_none(rows: Rows) -> bool:
    return rows == NONE if isinstance(rows, slice) else len(rows) == 0
