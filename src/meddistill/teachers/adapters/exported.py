"""Programs of `torch.export.save` (.pt2).

`torch.export.load` is not used: it falls back to unpickling whatever it finds, evaluates shape expressions
and guards as Python, and imports types by name. The graph and the tensors are plain JSON and bytes in the
archive, so the network is built of them here, node by node, from operators of aten alone.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from meddistill.errors import TeacherError
from meddistill.models.adapter import SegmentationNetwork
from meddistill.teachers.adapters.exported_graph import DTYPES, build_graph, output_names
from meddistill.teachers.adapters.found import Found
from meddistill.teachers.adapters.program import FileProgram, Shape, read_program

SCHEMA = 8
"""The major version of the format that is understood (`torch._export.serde.schema.SCHEMA_VERSION`)."""

_MULTIPLE = re.compile(r"Mul\(Integer\((\d+)\), Symbol\('\w+'[^()]*\)\)|(\d+)\*\w+", re.ASCII)


class ExportedProgram(FileProgram):
    """The graph of a torch.export program as a network.

    Args:
        path: its file.
        content: what was read of it.
        module: the graph, built.
        shape: of the image that it takes.
        dtype: of that image.
    """

    def __init__(
        self, path: Path, content: bytes, module: fx.GraphModule, shape: Shape, dtype: torch.dtype
    ) -> None:
        super().__init__(path, [content], shape)
        self.module = module
        self.dtype = dtype

    def run(self, image: Tensor) -> Any:
        """The outputs of the graph."""
        return self.module(image.to(self.dtype))


def load_exported(path: Path) -> Found:
    """Read a .pt2 file, on the CPU. Where it takes multiples of a number, images are padded to them.

    Raises:
        TeacherError: it is damaged, of another version of the format, holds pickled or compiled parts, does
            more than compute, or was exported in training mode.
    """
    content = read_program(path)
    records = _Records(path, content)
    program = records.program()
    tensors = {**records.tensors("constants"), **records.tensors("weights")}
    try:
        module = build_graph(program["graph_module"], tensors, str(path))
        image, logits = (_meta(program["graph_module"], side) for side in ("input", "output"))
        shape, divisor = _shape(image["sizes"]), _divisor(image["sizes"])
        network = ExportedProgram(path, content, module, shape, DTYPES[image["dtype"]])
    except TeacherError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise records.damaged(error) from error
    wraps = max(divisor, default=1) > 1
    return Found(
        SegmentationNetwork(network, divisor=divisor, least=divisor) if wraps else network,
        path.stem,
        "pt2",
        network.in_channels,
        _shape(logits["sizes"])[1],
        size=network.size,
    )


class _Records:
    """The parts of the archive, read as data.

    Raises:
        TeacherError: it is damaged, written by an older torch, or holds compiled code.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        try:
            self.archive = torch._C.PyTorchFileReader(io.BytesIO(content))
            self.names = set(self.archive.get_all_records())
        except RuntimeError as error:
            raise self.damaged(error) from error
        if any(name.startswith("data/aotinductor/") for name in self.names):
            raise TeacherError(
                f"{path} holds compiled code (AOTInductor), which is not loaded; use torch.export.save"
            )
        graphs = sorted(name for name in self.names if name.startswith("models/"))
        if len(graphs) != 1:
            raise TeacherError(
                f"{path} holds {len(graphs)} programs; give a file of one, of torch 2.9 or newer"
            )
        self.name = graphs[0].removeprefix("models/").removesuffix(".json")

    def program(self) -> dict[str, Any]:
        """The description of the graph.

        Raises:
            TeacherError: it is damaged, or of another version of the format.
        """
        program: dict[str, Any] = self._json(f"models/{self.name}.json")
        try:
            major = program["schema_version"]["major"]
        except (KeyError, TypeError) as error:
            raise self.damaged(error) from error
        if major != SCHEMA:
            raise TeacherError(
                f"{self.path} has version {major} of the format and {SCHEMA} is known; export it again"
            )
        return program

    def tensors(self, what: str) -> dict[str, Tensor]:
        """The weights or constants by name.

        Raises:
            TeacherError: they are damaged, pickled, or in the form of an older torch.
        """
        if f"data/{what}/{self.name}.pt" in self.names:
            raise TeacherError(f"{self.path} holds pickled {what}; export it again with torch 2.9 or newer")
        config = self._json(f"data/{what}/{self.name}_{what}_config.json")
        try:
            return {name: self._tensor(f"data/{what}/", entry) for name, entry in config["config"].items()}
        except TeacherError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> TeacherError:
        """The error for what is not as `torch.export.save` writes it."""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return TeacherError(f"{self.path} is no program of torch.export.save, or is damaged: {reason}")

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.archive.get_record(name))
        except (RuntimeError, ValueError) as error:
            raise self.damaged(error) from error

    def _tensor(self, folder: str, entry: Mapping[str, Any]) -> Tensor:
        meta = entry["tensor_meta"]
        if entry["use_pickle"] or meta is None:
            raise TeacherError(f"{self.path} holds pickled objects; it is not loaded")
        size, stride = ([n["as_int"] for n in meta[axis]] for axis in ("sizes", "strides"))
        content = bytearray(self.archive.get_record(folder + entry["path_name"]))
        if not content:
            return torch.zeros(size, dtype=DTYPES[meta["dtype"]])
        flat = torch.frombuffer(content, dtype=DTYPES[meta["dtype"]])
        return flat.as_strided(size, stride, meta["storage_offset"]["as_int"]).clone()


def _meta(graph_module: Mapping[str, Any], side: str) -> Any:
    """What is known of the image, or of the output that `first_output` takes."""
    graph = graph_module["graph"]
    if side == "output":
        names = output_names(graph_module)
        main = graph["outputs"][names.index("out") if "out" in names else 0]
        return graph["tensor_values"][main["as_tensor"]["name"]]
    [image] = [
        spec["user_input"] for spec in graph_module["signature"]["input_specs"] if "user_input" in spec
    ]
    return graph["tensor_values"][image["arg"]["as_tensor"]["name"]]


def _shape(sizes: list[Mapping[str, Any]]) -> Shape:
    return tuple(n.get("as_int") for n in sizes)


def _divisor(sizes: list[Mapping[str, Any]]) -> list[int]:
    """For each spatial axis, the number that its size must be a multiple of."""
    found = [_MULTIPLE.fullmatch(n["as_expr"]["expr_str"]) if "as_expr" in n else None for n in sizes[2:]]
    return [int(match[1] or match[2]) if match else 1 for match in found]
