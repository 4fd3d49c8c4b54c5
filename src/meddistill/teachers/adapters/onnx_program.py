"""ONNX models through ONNX Runtime, which comes with `pip install 'meddistill[onnx]'`.

ONNX Runtime computes with its own operators and runs no code of the file. Two things are checked before it
sees the
file: that it uses only operators of the standard (or made of them), and that tensors stored outside lie
    beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from meddistill.errors import TeacherError
from meddistill.teachers.adapters.found import Found
from meddistill.teachers.adapters.onnx_file import onnx_parts
from meddistill.teachers.adapters.program import FileProgram, Shape, read_program

_STANDARD = ("", "ai.onnx")
_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_ERRORS_ONLY = 3


class OnnxProgram(FileProgram):
    """An ONNX model as a network.

    It computes with as many threads as torch: on the GPU when the image lies there and this ONNX Runtime can,
    and otherwise on the CPU.

    Args:
        path: its file.
        content: what was read of it.
        outside: what was read of the files beside it that hold its tensors, by name.

    Raises:
        TeacherError: onnxruntime is absent or refuses the model, or it takes something else than one image.
    """

    def __init__(self, path: Path, content: bytes, outside: dict[str, bytes]) -> None:
        super().__init__(path, [content, *(outside[name] for name in sorted(outside))])
        self.content, self.outside = content, outside
        self._sessions: dict[tuple[torch.device, int], Any] = {}
        session = self._session(torch.device("cpu"))
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) < 3:
            shown = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise TeacherError(f"{path} takes {shown}; a teacher takes one image (batch, channel, space)")
        self.shape = _shape(inputs[0].shape)
        self.num_classes = _shape(outputs[0].shape)[1] if len(outputs[0].shape) > 1 else None
        self._input, self._output = inputs[0].name, outputs[0].name
        self._dtype = _DTYPES[inputs[0].type]

    def run(self, image: Tensor) -> Any:
        """The model's first output, on the device of the image."""
        values = image.detach().to("cpu", self._dtype).contiguous().numpy()
        try:
            output = self._session(image.device).run([self._output], {self._input: values})[0]
        except Exception as error:  # each of ONNX Runtime's errors is a direct child of Exception
            raise RuntimeError(" ".join(str(error).split())) from error
        return torch.from_numpy(output).to(image.device)

    def _session(self, device: torch.device) -> Any:
        """The session for a device and for as many threads as torch has now."""
        key = (device, torch.get_num_threads())
        if key not in self._sessions:
            self._sessions[key] = _start(self.path, self.content, self.outside, device)
        return self._sessions[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = type(self)(self.path, self.content, self.outside)
        memo[id(self)] = copy
        return copy


def load_onnx(path: Path) -> Found:
    """Read an ONNX file.

    Raises:
        TeacherError: onnxruntime is absent, or the file is damaged, needs foreign operators, or has tensors
            outside its folder.
    """
    content = read_program(path)
    parts = onnx_parts(content, str(path))
    foreign = sorted(
        f"{domain}::{name}" for domain, name in parts.operators - parts.functions if domain not in _STANDARD
    )
    if foreign:
        raise TeacherError(
            f"{path} uses {foreign[0]}, an operator outside the ONNX standard; export it with standard "
            "operators"
        )
    outside = {name: read_program(_beside(path, name)) for name in parts.files}
    network = OnnxProgram(path, content, outside)
    return Found(network, path.stem, "onnx", network.in_channels, network.num_classes, size=network.size)


def _beside(path: Path, name: str) -> Path:
    """The file `name` in the folder of the model and nowhere else."""
    file = path.parent / name
    if not name or Path(name).name != name or file.resolve().parent != path.parent.resolve():
        raise TeacherError(f"{path} has tensors in {name!r}; they may lie in a file beside it, not elsewhere")
    return file


def _start(path: Path, content: bytes, outside: dict[str, bytes], device: torch.device) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise TeacherError(
            f"{path} is an ONNX model and needs onnxruntime: pip install 'meddistill[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    if outside:
        names = sorted(outside)
        options.add_external_initializers_from_files_in_memory(
            names, [outside[name] for name in names], [len(outside[name]) for name in names]
        )
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # each of ONNX Runtime's errors is a direct child of Exception
        reason = str(error).splitlines()[0]
        raise TeacherError(f"{path} cannot be used by ONNX Runtime: {reason}") from error


def _shape(shape: list[Any]) -> Shape:
    return tuple(n if isinstance(n, int) and n > 0 else None for n in shape)
