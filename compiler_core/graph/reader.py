"""A file from outside as a trusted ``ModelProto``: size, protobuf, external data."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read

_HINT = "check that the file is a complete ONNX model: python -m onnx.checker, or export it again"


@dataclass(frozen=True)
class ImportLimits:
    """What an imported model may cost.

    Attributes:
        file_bytes: Size of the ONNX file (protobuf itself ends at 2 GiB).
        tensor_bytes: Size of one constant.
        total_bytes: Size of all constants together.
        nodes: Number of nodes, with those of subgraphs and functions.
        activation_bytes: Size of one tensor that is computed, for one sample.
        held_bytes: Size of all computed tensors that one execution holds at once, for one sample.
        folded_bytes: Size of all results over constants alone, beside four times the constants.
        operations: Multiplications, or steps of a like cost, of one execution.
        folded_operations: The same over constants alone.
        trips: Rounds of a loop.
        pieces: Tensors that one is split into for a sequence.
    """

    file_bytes: int = 2**31 - 1
    tensor_bytes: int = 2**31
    total_bytes: int = 2**33
    nodes: int = 200_000
    activation_bytes: int = 2**29
    held_bytes: int = 3 * 2**28
    folded_bytes: int = 3 * 2**28
    operations: int = 2**40
    folded_operations: int = 2**33
    trips: int = 2**16
    pieces: int = 2**14


def read_model(path: Path, limits: ImportLimits) -> onnx.ModelProto:
    """Read ``path`` with its external data.

    Raises:
        InputError: The file cannot be read, is too large, is not an ONNX model, or its external
            data is missing, too short or outside the folder of ``path``.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"model {path}: not a regular file")
        if status.st_size > limits.file_bytes:
            raise InputError(
                f"model {path}: {status.st_size} bytes, at most {limits.file_bytes} are read"
            )
        content = path.read_bytes()
    except OSError as error:
        raise cannot_be_read(f"model {path}", error) from error
    model = parse_model(content, str(path))
    _ExternalData(path.parent, limits).load(model)
    return model


def parse_model(content: bytes, where: str) -> onnx.ModelProto:
    """Decode a serialized ``ModelProto``.

    Raises:
        InputError: ``content`` is empty, truncated or not an ONNX model.
    """
    if not content:
        raise InputError(f"model {where}: the file is empty", hint=_HINT)
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise InputError(
            f"model {where}: not an ONNX model, or truncated ({error})", hint=_HINT
        ) from error
    except MemoryError as error:
        raise InputError(f"model {where}: {len(content)} bytes do not fit into memory") from error
    if not model.HasField("graph"):
        raise InputError(f"model {where}: not an ONNX model: it holds no graph", hint=_HINT)
    return model


def check_text(message: Message, where: str = "model") -> None:
    """Refuse text that is not UTF-8: protobuf hands it out as :class:`bytes`, which no name may be.

    Raises:
        InputError: With the path to the field.
    """
    for field, value in message.ListFields():
        place = f"{where}.{field.name}"
        if field.type == FieldDescriptor.TYPE_STRING:
            texts = (value,) if isinstance(value, str | bytes) else value
            for text in texts:
                if not isinstance(text, str):
                    raise InputError(f"{place}: {text!r} is not valid UTF-8 text")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if isinstance(value, Message):
                check_text(value, place)
                continue
            for position, item in enumerate(value):
                check_text(item, f"{place}[{position}]")


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph, those of attributes and subgraphs included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: object) -> Iterator[onnx.TensorProto]:
    for node in nodes:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors_of(attribute.g)
            for graph in attribute.graphs:
                yield from tensors_of(graph)


class _ExternalData:
    """Loads external tensors, from plain files below one folder only."""

    def __init__(self, folder: Path, limits: ImportLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._total = 0

    def load(self, model: onnx.ModelProto) -> None:
        for tensor in tensors_of(model.graph):
            self._load(tensor)
        for function in model.functions:
            for tensor in _node_tensors(function.node):
                self._load(tensor)

    def _load(self, tensor: onnx.TensorProto) -> None:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return
        entries = {entry.key: entry.value for entry in tensor.external_data}
        where = f"tensor {tensor.name!r}: external data {entries.get('location', '')!r}"
        try:
            path = self._resolve(entries.get("location", ""), where)
            size = path.stat().st_size
            offset = self._number(entries.get("offset", "0"), f"{where}: offset")
            length = self._number(
                entries.get("length", str(max(0, size - offset))), f"{where}: length"
            )
            if offset + length > size:
                raise InputError(
                    f"{where}: bytes {offset} to {offset + length} of a file of {size} bytes"
                )
            self._total += length
            if length > self._limits.tensor_bytes or self._total > self._limits.total_bytes:
                raise InputError(
                    f"{where}: {length} bytes; at most {self._limits.tensor_bytes} in one tensor "
                    f"and {self._limits.total_bytes} together are read"
                )
            with path.open("rb") as file:
                file.seek(offset)
                tensor.raw_data = file.read(length)
        except OSError as error:
            raise cannot_be_read(where, error) from error
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT

    def _resolve(self, location: str, where: str) -> Path:
        parts = PurePosixPath(location)
        windows = PureWindowsPath(location)
        if not location or "\0" in location or parts.is_absolute() or windows.drive or windows.root:
            raise InputError(f"{where}: must be a relative path inside the model's folder")
        if ".." in parts.parts or ".." in windows.parts:
            raise InputError(f"{where}: leads outside the model's folder")
        path = self._folder
        for part in parts.parts:
            path /= part
            # Also a link to a file inside could be exchanged after this check.
            if path.is_symlink():
                raise InputError(f"{where}: is reached through a symbolic link, which is refused")
        if not path.is_file():
            raise InputError(f"{where}: no such file in the model's folder")
        return path

    @staticmethod
    def _number(text: str, where: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise InputError(f"{where}: {text!r} is not a number of bytes")
        return int(text)
