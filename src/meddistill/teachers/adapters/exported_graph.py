"""From the JSON of a torch.export graph to a network of layers' operators.

Nothing of the file is evaluated: names only link values, operators are looked up in aten and in a fixed list
of arithmetic on sizes, and the Python code that torch.fx makes of the graph has names of its own.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from meddistill.errors import TeacherError
from meddistill.teachers.adapters.operators import aten_operator

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""By their number in the format (`torch._export.serde.schema.ScalarType`)."""

_LAYOUTS = {7: torch.strided}
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_SIZE_ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in (
            *("add", "and_", "eq", "floordiv", "ge", "gt", "le", "lshift", "lt", "mod", "mul", "ne", "neg"),
            *("or_", "pos", "pow", "rshift", "sub", "truediv"),
        )
    },
    **{
        f"torch.sym_{name}": getattr(torch, f"sym_{name}")
        for name in ("float", "int", "ite", "max", "min", "not", "sqrt")
    },
    "math.trunc": math.trunc,
}
_KEYWORD = 2
"""The kind of an argument that is given by its name (`torch._export.serde.schema.ArgumentKind`)."""

_ASSERTIONS = ("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range")


def build_graph(
    graph_module: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str
) -> fx.GraphModule:
    """The network that the graph describes: one image in, its outputs out (by name where they have names).

    Args:
        graph_module: the part of that name in the program's JSON.
        tensors: parameters, buffers and constants by name.
        source: the file, for messages.

    Raises:
        TeacherError: it takes more than one image, changes its own state, was exported in training mode, or
            uses operators beyond aten.
        KeyError, TypeError, ValueError, IndexError, AttributeError: the JSON is not of the format.
    """
    return _Builder(source).build(graph_module, tensors)


def output_names(graph_module: Mapping[str, Any]) -> list[str]:
    """The keys of a dictionary of tensors that the network returns; nothing for any other structure.

    Raises:
        KeyError, TypeError, ValueError: the JSON is not of the format.
    """
    [root] = [entry for entry in graph_module["module_call_graph"] if entry["fqn"] == ""]
    _, spec = json.loads(root["signature"]["out_spec"])
    if spec["type"] not in ("builtins.dict", "collections.OrderedDict"):
        return []
    plain = all(child["type"] is None for child in spec["children_spec"])
    names = json.loads(spec["context"]) if plain else []
    return [name for name in names if isinstance(name, str)]


class _Builder:
    def __init__(self, source: str) -> None:
        self.source = source
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.values: dict[str, Any] = {}
        self.image = self.graph.placeholder("image")
        self.device = self.graph.call_function(getattr, (self.image, "device"))

    def build(self, graph_module: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> fx.GraphModule:
        graph, signature = graph_module["graph"], graph_module["signature"]
        for number, spec in enumerate(signature["input_specs"]):
            self._input(number, *_only(spec), tensors)
        for spec in signature["output_specs"]:
            if "user_output" not in spec:
                raise TeacherError(
                    f"{self.source} changes its own state ({_only(spec)[0]}); call eval() on the network "
                    "before export"
                )
        for node in graph["nodes"]:
            self._node(node)
        outputs = [self._value(*_only(output)) for output in graph["outputs"]]
        names = output_names(graph_module)
        self.graph.output(dict(zip(names, outputs, strict=True)) if names else outputs)
        return fx.GraphModule(self.root, self.graph)

    def _input(self, number: int, kind: str, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        if kind == "user_input" and "as_tensor" in spec["arg"] and self.image not in self.values.values():
            self.values[spec["arg"]["as_tensor"]["name"]] = self.image
        elif kind in ("parameter", "buffer", "tensor_constant"):
            tensor, name = tensors[spec[f"{kind}_name"]], f"tensor_{number}"
            if kind == "parameter":
                self.root.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.root.register_buffer(name, tensor)
            self.values[spec["arg"]["name"]] = self.graph.get_attr(name)
        else:
            raise TeacherError(f"{self.source} takes more than one image ({kind}); a teacher takes one")

    def _node(self, node: Mapping[str, Any]) -> None:
        target, inputs = node["target"], node["inputs"]
        if target.startswith(tuple(f"torch.ops.aten.{name}" for name in _ASSERTIONS)):
            return
        if any(given["name"] in ("train", "training") and given["arg"].get("as_bool") for given in inputs):
            raise TeacherError(
                f"{self.source} was exported in training mode; call eval() on the network before"
            )
        function = _SIZE_ARITHMETIC.get(target) or aten_operator(target, self.source)
        positional, named = [], {}
        for given in inputs:
            value = self._value(*_only(given["arg"]))
            if given.get("kind") == _KEYWORD or given["name"] in _keyword_only(function):
                named[given["name"]] = value
            else:
                positional.append(value)
        self._bind(node["outputs"], self.graph.call_function(function, tuple(positional), named))

    def _bind(self, outputs: Sequence[Mapping[str, Any]], result: fx.Node) -> None:
        """Give the results of a node the names that later nodes know them by."""
        if len(outputs) == 1 and _only(outputs[0])[0] != "as_tensors":
            kind, value = _only(outputs[0])
            self.values[value["name"] if kind == "as_tensor" else value["as_name"]] = result
            return
        parts = (
            outputs[0]["as_tensors"] if len(outputs) == 1 else [output.get("as_tensor") for output in outputs]
        )
        for position, part in enumerate(parts):
            if part is not None:
                self.values[part["name"]] = self.graph.call_function(operator.getitem, (result, position))

    def _value(self, kind: str, value: Any) -> Any:
        """An argument: a value made before, or a plain one."""
        if kind in _CONVERTED:
            return _CONVERTED[kind](value)
        if kind == "as_tensor":
            return self.values[value["name"]]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            inner, content = _only(value)
            return self.values[content] if inner == "as_name" else self._value(inner, content)
        if kind in _LISTS:
            return [self._value(_LISTS[kind], item) for item in value]
        if kind == "as_device":
            return self.device
        raise TeacherError(f"{self.source} has an argument of kind {kind!r}, which a teacher has no need of")


_LISTS = {
    "as_tensors": "as_tensor",
    "as_nested_tensors": "as_tensors",
    "as_optional_tensors": "as_optional_tensor",
    "as_sym_ints": "as_sym_int",
    "as_sym_floats": "as_sym_float",
    "as_sym_bools": "as_sym_bool",
    "as_ints": "as_int",
    "as_floats": "as_float",
    "as_bools": "as_bool",
    "as_strings": "as_string",
    "as_int_lists": "as_ints",
    "as_float_lists": "as_floats",
}
"""Kinds of arguments that are lists, and the kind of their items."""

_CONVERTED: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda _: None,
    "as_int": int,
    "as_float": float,
    "as_bool": bool,
    "as_string": str,
    "as_scalar_type": DTYPES.__getitem__,
    "as_memory_format": _MEMORY_FORMATS.__getitem__,
    "as_layout": _LAYOUTS.__getitem__,
}


def _keyword_only(function: Any) -> set[str]:
    schema = getattr(function, "_schema", None)
    return {argument.name for argument in schema.arguments if argument.kwarg_only} if schema else set()


def _only(union: Mapping[str, Any]) -> tuple[str, Any]:
    """Kind and value of what may be one of several kinds."""
    [(kind, value)] = union.items()
    return kind, value
