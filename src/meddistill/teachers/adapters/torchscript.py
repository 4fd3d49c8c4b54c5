"""TorchScript programs (`torch.jit.save`).

Their own language knows no Python, but it is compiled while the file is read, a `__setstate__` in it runs
then, and its operators can write files. So the sources are searched before loading, and the compiled graph
before the first call.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddistill.errors import TeacherError
from meddistill.teachers.adapters.found import Found
from meddistill.teachers.adapters.operators import check_script_operator
from meddistill.teachers.adapters.program import FileProgram, read_program

_RECORD = re.compile(
    r"(data|constants|traced_inputs)(\.pkl|/\d+)|code/[\w./]+\.py(\.debug_pkl)?|extra/.*"
    r"|version|byteorder|\.format_version|\.storage_alignment|\.data/(version|serialization_id)",
    re.ASCII,
)
_REFUSED = {
    rb"torch[.\n]classes\b": "holds objects of compiled classes (torch.classes), as quantised networks do",
    rb"\b__[gs]etstate__\b": "runs code while it is loaded (__setstate__)",
    rb"(?<![\w.])ops\s*\.\s*(?!(?:prim|aten)\b)\w+": "uses operators of another library",
    rb"\bfrom_file\b|\bsave\s*\(": "touches files",
}
_LAYERS_WITH_MODES = ("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::batch_norm")


class ScriptProgram(FileProgram):
    """A TorchScript module as a network.

    Args:
        path: its file.
        content: what was read of it.
        module: the loaded module.
    """

    def __init__(self, path: Path, content: bytes, module: torch.jit.ScriptModule) -> None:
        super().__init__(path, [content])
        self.module = module

    def run(self, image: Tensor) -> Any:
        """The module's outputs."""
        return self.module(image)


def load_torchscript(path: Path) -> Found:
    """Read a TorchScript file, on the CPU. It does not say which images it takes; its first layer is asked.

    Raises:
        TeacherError: it is damaged, does more than compute, or was traced in training mode.
    """
    content = read_program(path)
    _check_archive(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise TeacherError(f"{path} cannot be loaded as TorchScript: {_first_line(error)}") from error
    _check_methods(path, module)
    network = ScriptProgram(path, content, module)
    return Found(network, path.stem, "torchscript", in_channels=_first_channels(module))


def _check_archive(path: Path, content: bytes) -> None:
    """Look through the archive with the reader that `torch.jit.load` uses, so that both see the same."""
    try:
        archive = torch._C.PyTorchFileReader(io.BytesIO(content))
        names = archive.get_all_records()
        records = {name: archive.get_record(name) for name in names if name.endswith((".py", ".pkl"))}
    except RuntimeError as error:
        raise TeacherError(f"{path} is a damaged archive: {_first_line(error)}") from error
    strange = [name for name in names if not _RECORD.fullmatch(name)]
    if strange or len({name.lower() for name in names}) < len(names):
        raise TeacherError(
            f"{path} holds {(strange or ['a record twice'])[0]!r}, which TorchScript does not write"
        )
    for name, record in records.items():
        for pattern, what in _REFUSED.items():
            if re.search(pattern, record):
                raise TeacherError(f"{path}: {name} {what}; it is not loaded")


def _check_methods(path: Path, module: torch.jit.ScriptModule) -> None:
    if module._c._get_forward_hooks() or module._c._get_forward_pre_hooks():
        raise TeacherError(f"{path} has hooks; save the network without them")
    for name in module._c._method_names():
        graph = module._c._get_method(name).graph.copy()
        torch._C._jit_pass_inline(graph)
        _check_block(path, graph)


def _check_block(path: Path, block: Any) -> None:
    for node in block.nodes():
        check_script_operator(node.kind(), str(path))
        _check_mode(path, node)
        for inner in node.blocks():
            _check_block(path, inner)


def _check_mode(path: Path, node: Any) -> None:
    """Refuse a layer that was traced in training mode: it would answer differently each time."""
    if node.kind() not in _LAYERS_WITH_MODES:
        return
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    for name, value in zip(names, node.inputs(), strict=True):
        if name in ("train", "training") and value.toIValue() is True:
            raise TeacherError(
                f"{path} was traced in training mode; call eval() on the network before tracing"
            )


def _first_channels(module: nn.Module) -> int | None:
    """Channels of the first convolution, which in common networks is what the image meets."""
    kernels = (parameter for parameter in module.parameters() if parameter.ndim in (4, 5))
    first = next(kernels, None)
    return None if first is None else first.shape[1]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
