"""A look into ONNX files without the onnx package: operators of which domains, and which files beside it.

An ONNX file is a protobuf message (https://protobuf.dev/programming-guides/encoding, onnx/onnx.proto). Only
what a check needs is followed; everything else is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from meddistill.errors import TeacherError

Value = int | memoryview

_INNER = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""For each message that matters, the numbers of its fields that are such messages themselves."""

_IR_VERSION, _GRAPH, _OPSETS = 1, 7, 8


@dataclass
class OnnxParts:
    """What the messages of a file name.

    Args:
        operators: (domain, name) of each operator that is used.
        functions: (domain, name) of those that the file defines itself.
        files: names of files that hold tensors.
    """

    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def looks_like_onnx(start: bytes) -> bool:
    """Whether a file that starts so can be an ONNX model: its first field is a small version number.

    Example:
        >>> looks_like_onnx(bytes([8, 10, 18, 7])), looks_like_onnx(b"PK"), looks_like_onnx(b"text")
        (True, False, False)
    """
    return len(start) > 2 and start[0] == _IR_VERSION << 3 and 3 <= start[1] < 64


def onnx_parts(content: bytes, source: str) -> OnnxParts:
    """Look through a model.

    Raises:
        TeacherError: it is no ONNX model or is damaged; `source` is named.
    """
    parts = OnnxParts()
    try:
        numbers = {number for number, _ in _fields(memoryview(content))}
        if not {_IR_VERSION, _GRAPH, _OPSETS} <= numbers:
            raise ValueError("no graph")
        _visit(memoryview(content), "model", parts)
    except (ValueError, IndexError, RecursionError) as error:
        raise TeacherError(f"{source} is not an ONNX model, or is damaged") from error
    return parts


def _visit(message: memoryview, kind: str, parts: OnnxParts) -> None:
    texts: dict[int, str] = {}
    for number, value in _fields(message):
        if isinstance(value, int):
            continue
        inner = _INNER.get(kind, {}).get(number)
        if inner is not None:
            _visit(value, inner, parts)
        elif (kind, number) in _TEXTS:
            texts[number] = bytes(value).decode()
    if kind == "node":
        parts.operators.add((texts.get(7, ""), texts.get(4, "")))
    elif kind == "function":
        parts.functions.add((texts.get(10, ""), texts.get(1, "")))
    elif kind == "external" and texts.get(1) == "location":
        parts.files.add(texts.get(2, ""))


_TEXTS = {("node", 4), ("node", 7), ("function", 1), ("function", 10), ("external", 1), ("external", 2)}


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field; those of fixed width are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
        elif wire == 2:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field ends behind the message")
            yield number, message[position : position + length]
            position += length
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
