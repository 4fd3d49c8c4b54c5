"""What a program may do: compute with tensors. Whatever touches files, processes or networks is left out."""

from __future__ import annotations

import re
from typing import Any

import torch

from meddistill.errors import TeacherError

FILE_OPERATORS = frozenset({"aten::from_file", "aten::save"})
"""The operators of torch itself that read or write files."""

SCRIPT_PRIMITIVES = frozenset(
    f"prim::{name}"
    for name in (
        *("Constant", "ConstantChunk", "CreateObject", "DictConstruct", "DictIndex", "EnumName", "EnumValue"),
        *("GetAttr", "If", "IfThenElse", "isinstance", "ListConstruct", "ListUnpack", "Load", "Loop"),
        *("ModuleContainerIndex", "NumToTensor", "RaiseException", "SetAttr", "Store", "StringIndex"),
        *(
            "TupleConstruct",
            "TupleIndex",
            "TupleSlice",
            "TupleUnpack",
            "Uninitialized",
            "VarConcat",
            "VarStack",
        ),
        *("abs", "data", "device", "dtype", "index", "is_cpu", "is_cuda", "is_meta", "is_mkldnn", "is_mps"),
        *(
            "is_nested",
            "is_quantized",
            "is_sparse",
            "itemsize",
            "layout",
            "max",
            "min",
            "nbytes",
            "rangelist",
        ),
        *("requires_grad", "tolist", "type", "unchecked_cast", "unchecked_unwrap_optional"),
    )
)
"""The primitives of TorchScript that compute, choose and repeat."""

_ATEN = re.compile(r"torch\.ops\.aten\.([a-z_][a-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)


def check_script_operator(kind: str, source: str) -> None:
    """Refuse a node of a TorchScript graph that does more than compute.

    Raises:
        TeacherError: it does; `source` is named.
    """
    allowed = kind in SCRIPT_PRIMITIVES if kind.startswith("prim::") else kind.startswith("aten::")
    if not allowed or kind in FILE_OPERATORS:
        raise TeacherError(f"{source} uses {kind}, which a teacher has no need of; it is not loaded")


def aten_operator(target: str, source: str) -> Any:
    """The operator that a torch.export graph calls `target`, for example `torch.ops.aten.conv2d.default`.

    Raises:
        TeacherError: it is no operator of aten, touches files, or is not in this torch.

    Example:
        >>> str(aten_operator("torch.ops.aten.relu.default", "example"))
        'aten.relu.default'
    """
    match = _ATEN.fullmatch(target)
    if match is None or f"aten::{match[1]}" in FILE_OPERATORS:
        raise TeacherError(f"{source} uses {target[:80]!r}, which a teacher has no need of; it is not loaded")
    found = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
    if not isinstance(found, torch._ops.OpOverload):
        raise TeacherError(f"{source} uses {target!r}, which is no operator of torch {torch.__version__}")
    return found
