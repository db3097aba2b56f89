"""ONNX models changed where it hurts: shapes, attributes, names, types, edges, subgraphs, files."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import TensorProto, helper

from tests.fuzz.amplifiers import amplified
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.values import FLOATS, integer, text

LOCATIONS = (
    "../secret.bin", "/etc/passwd", "link.bin", "/dev/zero", "fifo", "weights.bin", "", ".", "..",
    "a/../../secret.bin", "weights.bin\0", "folder", "C:\\x",
    "..\\secret.bin", "./weights.bin", "\x1b[31m",
)  # fmt: skip
_OPERATORS = (
    "Relu", "Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul", "Add", "Mul",
    "Sub", "Div", "Concat", "Reshape", "Transpose", "Flatten", "Softmax", "Clip", "Pad", "Slice",
    "Split", "Resize", "BatchNormalization", "Sigmoid", "HardSwish", "LayerNormalization", "Shape",
    "Gather", "Squeeze", "Unsqueeze", "ReduceMean", "QuantizeLinear", "DequantizeLinear", "LSTM",
    "ConvTranspose", "Identity", "Cast", "Expand", "Where", "Einsum", "TopK", "ArgMax", "Constant",
    "If", "Loop", "Dropout", "InstanceNormalization", "LRN", "PRelu", "ConvInteger", "QLinearConv",
)  # fmt: skip
_DEPTH = 12


def mutate_onnx(
    random_: random.Random, content: bytes, other: bytes, *, amplify: bool = True
) -> bytes:
    """A model changed by byte, by field or by structure, or one that asks for much."""
    match random_.randrange(10):
        case 0:
            return mutate_bytes(random_, content, other)
        case 1 | 2 | 3 if amplify:
            try:
                return amplified(random_)
            except DecodeError:  # too deep for protobuf itself
                return content
        case _:
            try:
                model = onnx.ModelProto.FromString(content)
            except DecodeError:  # changed before
                return mutate_bytes(random_, content, other)
            for _ in range(random_.choice((1, 1, 2, 3))):
                change = _change_field if random_.random() < 0.5 else random_.choice(_STRUCTURE)
                # Protobuf itself refuses some values; then the other changes have to do.
                with contextlib.suppress(ValueError, TypeError, DecodeError):
                    change(random_, model)
            try:
                return model.SerializeToString()
            except (ValueError, DecodeError):
                return content


def _messages(message: Message, depth: int = 0) -> list[Message]:
    found = [message]
    if depth < _DEPTH:
        for field, value in message.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                for item in [value] if isinstance(value, Message) else value:
                    found += _messages(item, depth + 1)
    return found


def _change_field(random_: random.Random, model: onnx.ModelProto) -> None:
    message = random_.choice(_messages(model))
    fields = message.DESCRIPTOR.fields
    present = [field for field, _ in message.ListFields()]
    field = random_.choice(present if present and random_.random() < 0.8 else list(fields))
    repeated = field.is_repeated
    kind = field.type
    if kind == FieldDescriptor.TYPE_MESSAGE:
        if repeated:
            items = getattr(message, field.name)
            if len(items):
                at = random_.randrange(len(items))
                match random_.randrange(3):
                    case 0:
                        del items[at]
                    case 1:
                        items.add().CopyFrom(items[at])
                    case 2:
                        items[at].Clear()
        else:
            message.ClearField(field.name)
        return
    value = _value(random_, field)
    if not repeated:
        setattr(message, field.name, value)
        return
    items = getattr(message, field.name)
    match random_.randrange(4):
        case 0:
            items.append(value)
        case 1:
            items.extend([value] * random_.choice((2, 9, 100)))
        case 2 if len(items):
            del items[random_.randrange(len(items))]
        case _ if len(items):
            items[random_.randrange(len(items))] = value


def _value(random_: random.Random, field: FieldDescriptor) -> Any:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return text(random_)
        case FieldDescriptor.TYPE_BYTES:
            return random_.choice(
                (b"", b"\xff\xfe", b"NOTSET", b"SAME_UPPER", b"x" * 1000, random_.randbytes(8))
            )
        case FieldDescriptor.TYPE_FLOAT | FieldDescriptor.TYPE_DOUBLE:
            return random_.choice(FLOATS)
        case FieldDescriptor.TYPE_INT32:
            return max(-(2**31), min(2**31 - 1, integer(random_)))
        case FieldDescriptor.TYPE_UINT64:
            return min(abs(integer(random_)), 2**64 - 1)
        case FieldDescriptor.TYPE_ENUM:
            return random_.randint(0, 14)
        case _:
            return max(-(2**63), min(2**63 - 1, integer(random_)))


def _rename(random_: random.Random, model: onnx.ModelProto) -> None:
    names = sorted(
        {name for node in model.graph.node for name in (*node.input, *node.output) if name}
    )
    if not names:
        return
    old, new = random_.choice(names), text(random_)
    if random_.random() < 0.2:
        new = random_.choice(names)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for group in (model.graph.input, model.graph.output, model.graph.initializer):
        for item in group:
            if item.name == old:
                item.name = new


def _reoperate(random_: random.Random, model: onnx.ModelProto) -> None:
    if model.graph.node:
        random_.choice(model.graph.node).op_type = random_.choice(_OPERATORS)


def _rewire(random_: random.Random, model: onnx.ModelProto) -> None:
    nodes = [node for node in model.graph.node if node.input]
    if nodes:
        node = random_.choice(nodes)
        names = [name for item in model.graph.node for name in (*item.input, *item.output)]
        node.input[random_.randrange(len(node.input))] = random_.choice([*names, "", "nowhere"])


def _reorder(random_: random.Random, model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    random_.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _retype(random_: random.Random, model: onnx.ModelProto) -> None:
    group = random_.choice((model.graph.input, model.graph.output, model.graph.initializer))
    if not len(group):
        return
    item = random_.choice(group)
    number = random_.randint(0, 26)
    if isinstance(item, TensorProto):
        item.data_type = number
    else:
        item.type.tensor_type.elem_type = number


def _reshape(random_: random.Random, model: onnx.ModelProto) -> None:
    for value in random_.choice((model.graph.input, model.graph.output)):
        del value.type.tensor_type.shape.dim[:]
        for _ in range(random_.choice((0, 1, 2, 4, 5, 70))):
            dim = value.type.tensor_type.shape.dim.add()
            if random_.random() < 0.8:
                dim.dim_value = max(
                    -(2**63), min(2**63 - 1, random_.choice((1, 1, 8, integer(random_))))
                )
            else:
                dim.dim_param = text(random_)


def _shape_of_weight(random_: random.Random, model: onnx.ModelProto) -> None:
    if model.graph.initializer:
        tensor = random_.choice(model.graph.initializer)
        match random_.randrange(4):
            case 0:
                tensor.dims[:] = list(tensor.dims)[::-1]
            case 1:
                tensor.dims.append(1)
            case 2:
                tensor.dims[:] = [0, *tensor.dims]
                tensor.raw_data = b""
            case 3:
                tensor.dims[:] = [2**31, 2**31, 2**31, 0]


def _external(random_: random.Random, model: onnx.ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = random_.choice(model.graph.initializer)
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entries = {
        "location": random_.choice(LOCATIONS),
        "offset": str(random_.choice((0, 0, 4, -1, 2**63, "0x10", "1e3", 10**30))),
        "length": str(random_.choice((size, size, 0, -1, 2**40, "", 10**30))),
    }
    for key, value in entries.items():
        if random_.random() < 0.8:
            item = tensor.external_data.add()
            item.key, item.value = key, value


def _into_function(random_: random.Random, model: onnx.ModelProto) -> None:
    """An operator that the model defines by itself, perhaps by itself again."""
    nodes = [node for node in model.graph.node if len(node.input) == 1 and len(node.output) == 1]
    if not nodes:
        return
    node = random_.choice(nodes)
    inner = helper.make_node(node.op_type, ["a"], ["b"], domain=random_.choice(("", "evil")))
    domain = random_.choice(("evil", ""))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    model.functions.append(
        helper.make_function(domain, node.op_type, ["a"], ["b"], [inner], opsets)
    )
    node.domain = domain
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _into_branch(random_: random.Random, model: onnx.ModelProto) -> None:
    """The whole graph moved into a branch, once or more."""
    for _ in range(random_.choice((1, 1, 3, 20))):
        graph = model.graph
        inner = onnx.GraphProto()
        inner.CopyFrom(graph)
        flag = helper.make_tensor("flag", TensorProto.BOOL, [], [True])
        del inner.input[:]
        node = helper.make_node(
            "If",
            ["flag"],
            [item.name for item in graph.output],
            then_branch=inner,
            else_branch=inner if random_.random() < 0.2 else onnx.GraphProto(name="e"),
        )
        del graph.node[:]
        del graph.initializer[:]
        graph.initializer.append(flag)
        graph.node.append(node)


def _opset(random_: random.Random, model: onnx.ModelProto) -> None:
    for item in model.opset_import:
        item.version = random_.choice(
            (0, 1, 6, 7, 9, 11, 12, 13, 17, 18, 21, 22, 23, 24, 99, -1, 2**40)
        )


def _repeat(random_: random.Random, model: onnx.ModelProto) -> None:
    if model.graph.node:
        node = random_.choice(model.graph.node)
        for count in range(random_.choice((1, 30))):
            copy = model.graph.node.add()
            copy.CopyFrom(node)
            if random_.random() < 0.8:
                copy.output[:] = [f"{name}_{count}" for name in copy.output]


def _drop(random_: random.Random, model: onnx.ModelProto) -> None:
    group = random_.choice(
        (model.graph.node, model.graph.initializer, model.graph.input, model.graph.output)
    )
    if len(group):
        del group[random_.randrange(len(group))]


def _metadata(random_: random.Random, model: onnx.ModelProto) -> None:
    model.graph.name = text(random_)
    model.producer_name = text(random_)
    for node in model.graph.node:
        if random_.random() < 0.3:
            node.name = text(random_)


_STRUCTURE = (
    _rename, _rename, _reoperate, _rewire, _reorder, _retype, _reshape, _shape_of_weight, _external,
    _into_function, _into_branch, _opset, _repeat, _drop, _metadata,
)  # fmt: skip
