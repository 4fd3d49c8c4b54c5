"""How to rebuild a network, and weights that carry this with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from meddistill.errors import RunError
from meddistill.models.checkpoints import CHECKPOINT_SUFFIXES, load_state, read_checkpoint
from meddistill.models.factory import create_model
from meddistill.models.forms import arrange
from meddistill.models.options import as_tuples
from meddistill.tensor_files import read_tensors, write_tensors

_METADATA_KEY = "meddistill"


@dataclass(frozen=True)
class ModelSpec:
    """The arguments of `create_model`, and what the outputs mean.

    Args:
        name: a name that `create_model` knows.
        in_channels: image channels.
        num_classes: K, background included.
        dims: spatial axes, 2 or 3.
        options: further arguments of `create_model`.
        class_names: name of each class; empty when unknown.
        size: size of the images that the network was trained on; empty when unknown.
        form: how networks of this kind are arranged: "single", "dual_decoder", "mean_teacher" or "twin", see
            `models.forms`.
        task: what its logits speak of: "segmentation" (each pixel), "classification" (one class for the
            image) or "multi_label" (labels that do not exclude each other).

    Example:
        >>> spec = ModelSpec("pcd/unet", num_classes=3, options={"width": 4})
        >>> ModelSpec.from_json(spec.to_json()) == spec
        True
    """

    name: str
    in_channels: int = 1
    num_classes: int = 2
    dims: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    form: str = "single"
    task: str = "segmentation"

    def build(self) -> nn.Module:
        """The network, or the networks of its form, with random weights.

        Raises:
            ConfigError: `create_model` refuses the arguments, or the network cannot have the form.
        """
        options = dict(self.options)
        make = partial(create_model, self.name, self.in_channels, self.num_classes, self.dims, **options)
        return arrange(self.form, make)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """The spec that `to_json` described; keys of others are left alone.

        Raises:
            RunError: `value` does not describe a network.
        """
        known = {item.name for item in fields(cls)}
        try:
            given = {key: as_tuples(item) for key, item in value.items() if key in known}
            spec = cls(**given)
        except (AttributeError, TypeError) as error:
            raise RunError("this does not describe a network: at least its name is needed") from error
        named = all(isinstance(text, str) for text in (spec.name, spec.form, spec.task))
        if not named or not isinstance(spec.options, Mapping):
            raise RunError("this does not describe a network: its name is text and its options are named")
        return spec


def save_weights(model: nn.Module, spec: ModelSpec, path: Path | str) -> None:
    """Write the weights of `model` as safetensors, with `spec` in the file's metadata, in one step.

    Raises:
        RunError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> spec = ModelSpec("pcd/unet", options={"width": 4})
        >>> path = Path(tempfile.mkdtemp()) / "student.safetensors"
        >>> save_weights(spec.build(), spec, path)
        >>> load_weights(path)[0] == spec
        True
    """
    write_tensors(path, model.state_dict(), _METADATA_KEY, spec.to_json())


def load_weights(path: Path | str) -> tuple[ModelSpec | None, dict[str, Tensor]]:
    """The weights in a file by name, and the spec of their network when the file carries one.

    Args:
        path: a `.safetensors` file, or a `.pt`, `.pth` or `.ckpt` checkpoint (read without running code).

    Raises:
        RunError: the file is missing, of another kind, damaged, or holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"weights file {path} {'is a folder' if path.is_dir() else 'is missing'}")
    if path.suffix in CHECKPOINT_SUFFIXES:
        return None, read_checkpoint(path)
    if path.suffix != ".safetensors":
        raise RunError(f"{path} is no weights file; give .safetensors, {', '.join(CHECKPOINT_SUFFIXES)}")
    return _read_safetensors(path)


def load_model(path: Path | str) -> tuple[ModelSpec, nn.Module]:
    """Rebuild the network that `save_weights` wrote, in evaluation mode.

    Raises:
        RunError: the file cannot be read, carries no spec, or its weights do not fit.

    Example:
        >>> import tempfile
        >>> spec = ModelSpec("pcd/unet", options={"width": 4})
        >>> path = Path(tempfile.mkdtemp()) / "student.safetensors"
        >>> save_weights(spec.build(), spec, path)
        >>> found, model = load_model(path)
        >>> found.name, model.training
        ('pcd/unet', False)
    """
    spec, state = load_weights(path)
    if spec is None:
        raise RunError(f"{path} does not say which network it belongs to; give the model's name as well")
    model = spec.build()
    load_state(model, state, source=str(path))
    return spec, model.eval()


def _read_safetensors(path: Path) -> tuple[ModelSpec | None, dict[str, Tensor]]:
    described, state = read_tensors(path, _METADATA_KEY)
    spec = ModelSpec.from_json(described) if described is not None else None
    if not state:
        raise RunError(f"{path} holds no weights")
    return spec, state
