"""Random networks of what microcontrollers run: layers of every kind behind and beside one another.

A network grows from its inputs by steps that are drawn: each takes tensors that are there, of
whatever rank and size, and adds an operator with odd attributes. Shapes are those of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.rounded_up import round_sizes_down
from compiler_core.graph.spelled.spelled_out import spelled_out
from tests.compiler_core.units.cpu.c.cases import Model

Shape = tuple[int, ...]
_MOST = 3000
"""Elements of a tensor."""

_WIDTHS = (1, 2, 3, 4, 5, 7, 8, 12, 13, 16)


class Growing(Model):
    """A model whose steps are drawn.

    Args:
        seed: Of the draws.
        opset: Of the model.
    """

    def __init__(self, seed: int, opset: int = 20) -> None:
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.shape_of: dict[str, Shape] = {}
        super().__init__(*self._inputs())
        self.random = np.random.default_rng((seed, 1))
        for name, shape in zip(self.inputs, self.shapes, strict=True):
            self.shape_of[name] = shape

    def _inputs(self) -> list[Shape]:
        kinds: list[Callable[[], Shape]] = [
            lambda: (1, self.pick(_WIDTHS[:6]), self.whole(4, 14), self.whole(4, 14)),
            lambda: (1, self.pick(_WIDTHS[:8]), self.whole(6, 40)),
            lambda: (1, self.whole(3, 10), self.pick(_WIDTHS[3:])),
            lambda: (1, self.whole(5, 40)),
        ]
        first = kinds[int(self.random.choice(4, p=[0.5, 0.2, 0.2, 0.1]))]()
        if self.chance(0.2):
            return [first, kinds[int(self.random.integers(4))]()]
        return [first]

    def pick(self, options: Any) -> Any:
        """One of some."""
        return options[int(self.random.integers(len(options)))]

    def whole(self, low: int, high: int) -> int:
        """A number from ``low`` up to ``high``."""
        return int(self.random.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """Whether something happens."""
        return bool(self.random.random() < share)

    def spread(self, *shape: int) -> str:
        """Weights that keep the size of numbers."""
        inputs = max(1, int(np.prod(shape[1:])))
        return self.weight(*shape, scale=float(inputs**-0.5))

    def put(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds an operator whose shapes ONNX knows; ``None`` where it refuses it, or where its
        result has no elements or too many."""
        names = self.node(op, *inputs, outputs=outputs, **attributes)
        found = [names] if outputs == 1 else names
        shapes = self._shapes(self.nodes[-1], found)
        if shapes is None or any(
            not (0 < np.prod(s) <= _MOST and 2 <= len(s) <= 5) for s in shapes
        ):
            self.nodes.pop()
            return None
        self.shape_of |= dict(zip(found, shapes, strict=True))
        return names

    def _shapes(self, node: onnx.NodeProto, names: list[str]) -> list[Shape] | None:
        known = {tensor.name: tensor for tensor in self.weights}
        graph = helper.make_graph(
            [node],
            "step",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape_of[name])
                for name in dict.fromkeys(node.input)
                if name in self.shape_of
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
            [known[name] for name in dict.fromkeys(node.input) if name in known],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        round_sizes_down(model)
        try:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except onnx.shape_inference.InferenceError:
            return None
        found = []
        for output in model.graph.output:
            kind = output.type.tensor_type
            if not kind.HasField("shape"):
                return None
            sizes = [axis.dim_value for axis in kind.shape.dim]
            if any(size <= 0 for size in sizes):
                return None
            found.append(tuple(sizes))
        return found


def _usable(shape: Shape) -> bool:
    return 0 < np.prod(shape) <= _MOST and 2 <= len(shape) <= 5


Step = Callable[[Growing, str], Any]
STEPS: dict[str, tuple[Step, float]] = {}


def step(share: float = 1.0) -> Callable[[Step], Step]:
    """Registers a step, drawn as often as its share says."""

    def register(grow: Step) -> Step:
        STEPS[grow.__name__] = grow, share
        return grow

    return register


def _image(m: Growing, x: str) -> tuple[int, int] | None:
    """Channels and spatial axes of an image or a row of channels."""
    shape = m.shape_of[x]
    return (shape[1], len(shape) - 2) if len(shape) in (3, 4) and shape[0] == 1 else None


def _window(m: Growing, axes: int, sizes: Shape) -> dict[str, Any]:
    kernel = [m.pick((1, 2, 3, 3, 5)) for _ in range(axes)]
    kernel = [min(k, size) for k, size in zip(kernel, sizes, strict=True)]
    found: dict[str, Any] = {"strides": [m.pick((1, 1, 2, 3)) for _ in range(axes)]}
    if m.chance(0.25):
        found["auto_pad"] = m.pick(("SAME_UPPER", "SAME_LOWER", "VALID"))
    elif m.chance(0.7):
        found["pads"] = [m.whole(0, k // 2) for k in kernel * 2]
    if m.chance(0.25) and "auto_pad" not in found:
        most = [(size - 1) // max(1, k - 1) for k, size in zip(kernel, sizes, strict=True)]
        found["dilations"] = [max(1, min(most[i], m.pick((1, 2, 3)))) for i in range(axes)]
    return {"kernel_shape": kernel, **found}


@step(6)
def convolution(m: Growing, x: str) -> Any:
    """Of any number of groups, depthwise with and without a multiplier."""
    known = _image(m, x)
    if known is None:
        return None
    channels, axes = known
    window = _window(m, axes, m.shape_of[x][2:])
    kind = m.whole(0, 5)
    divisors = [d for d in range(1, channels + 1) if channels % d == 0]
    groups = channels if kind < 2 else m.pick(divisors) if kind == 2 else 1
    outputs = groups * m.pick((1, 1, 2, 3)) if groups > 1 else m.pick(_WIDTHS)
    weight = m.spread(outputs, channels // groups, *window["kernel_shape"])
    bias = (m.weight(outputs, scale=0.2),) if m.chance(0.7) else ()
    return m.put("Conv", x, weight, *bias, group=groups, **window)


@step(1)
def transposed(m: Growing, x: str) -> Any:
    known = _image(m, x)
    if known is None:
        return None
    channels, axes = known
    kernel = [m.pick((1, 2, 3, 4)) for _ in range(axes)]
    strides = [m.pick((1, 2, 3)) for _ in range(axes)]
    groups = channels if m.chance(0.2) else 1
    weight = m.spread(channels, m.pick((1, 2, 3, 5)), *kernel)
    more: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "group": groups}
    if m.chance(0.5):
        more["pads"] = [m.whole(0, (k - 1) // 2) for k in kernel * 2]
    if m.chance(0.3):
        more["output_padding"] = [m.whole(0, s - 1) for s in strides]
    if m.chance(0.2):
        more["dilations"] = [m.pick((1, 2)) for _ in range(axes)]
    return m.put("ConvTranspose", x, weight, **more)


@step(3)
def pool(m: Growing, x: str) -> Any:
    known = _image(m, x)
    if known is None:
        return None
    window = _window(m, known[1], m.shape_of[x][2:])
    if m.chance(0.4):
        window["ceil_mode"] = 1
    if m.chance(0.5):
        found = m.put("MaxPool", x, **window)
    else:
        if m.opset < 19:
            window.pop("dilations", None)
        found = m.put("AveragePool", x, count_include_pad=m.whole(0, 1), **window)
    if found and not _sees_input(window, m.shape_of[x][2:], m.shape_of[found][2:]):
        m.nodes.pop()
        return None
    return found


def _sees_input(window: dict[str, Any], sizes: Shape, results: Shape) -> bool:
    """Whether every window holds an element: such that do not are refused."""
    axes = len(sizes)
    dilations = window.get("dilations", [1] * axes)
    for axis, (size, result) in enumerate(zip(sizes, results, strict=True)):
        start = np.arange(result) * window["strides"][axis] - window.get("pads", [0] * axes)[axis]
        taps = start[:, None] + np.arange(window["kernel_shape"][axis]) * dilations[axis]
        if "auto_pad" not in window and not ((taps >= 0) & (taps < size)).any(axis=1).all():
            return False
    return True


@step(1)
def global_pool(m: Growing, x: str) -> Any:
    if _image(m, x) is None:
        return None
    return m.put(m.pick(("GlobalAveragePool", "GlobalMaxPool")), x)


@step(1)
def gate(m: Growing, x: str) -> Any:
    """Squeeze and excitation."""
    known = _image(m, x)
    if known is None:
        return None
    channels, axes = known
    ones = (1,) * axes
    small = m.put("GlobalAveragePool", x)
    small = m.put("Relu", m.put("Conv", small, m.spread(3, channels, *ones)))
    small = m.put("Conv", small, m.spread(channels, 3, *ones))
    return m.put("Mul", x, m.put(m.pick(("HardSigmoid", "Sigmoid")), small))


_FUNCTIONS = """
Abs Atan Ceil Celu Cos Elu Erf Exp Floor HardSigmoid HardSwish LeakyRelu Mish Neg Relu Round
Selu Shrink Sigmoid Sign Sin Softplus Softsign Tanh ThresholdedRelu Relu Relu Relu
"""


@step(5)
def function(m: Growing, x: str) -> Any:
    return m.put(m.pick(_FUNCTIONS.split()), x)


@step(1)
def clip(m: Growing, x: str) -> Any:
    low, high = m.array(-m.whole(0, 1) * 0.7), m.array(0.4 + m.whole(0, 2))
    return m.put("Clip", x, *m.pick(((low, high), (low,), ("", high))))


@step(1)
def slope(m: Growing, x: str) -> Any:
    known = _image(m, x)
    if known is None or m.chance(0.3):
        return m.put("PRelu", x, m.array(0.2))
    return m.put("PRelu", x, m.weight(known[0], *(1,) * known[1]))


@step(2)
def with_constant(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    kept = [size if m.chance(0.5) else 1 for size in shape]
    kept = kept[m.whole(0, len(kept)) :]
    value = m.weight(*kept, scale=0.7) if kept else m.array(m.random.normal())
    op = m.pick(("Add", "Sub", "Mul", "Max", "Min"))
    return m.put(op, *((x, value) if m.chance(0.7) else (value, x)))


@step(3)
def with_another(m: Growing, x: str) -> Any:
    """Of any shapes that broadcast."""
    op = m.pick(("Add", "Add", "Add", "Sub", "Mul", "Mul", "Max", "Min"))
    others = [name for name in m.shape_of if _broadcasts(m.shape_of[name], m.shape_of[x])]
    return m.put(op, x, m.pick(others))


def _broadcasts(a: Shape, b: Shape) -> bool:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(p == q or 1 in (p, q) for p, q in pairs)


@step(2)
def dense(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    if len(shape) < 2:
        return None
    outputs = m.pick(_WIDTHS)
    if len(shape) == 2 and m.chance(0.6):
        turned = m.whole(0, 1)
        weight = m.spread(outputs, shape[1])
        if not turned:
            weight = m.weight(shape[1], outputs, scale=shape[1] ** -0.5)
        bias = m.pick(((), (m.weight(outputs),), (m.weight(1, outputs),), (m.array(0.3),)))
        return m.put("Gemm", x, weight, *bias, transB=turned, alpha=m.pick((1.0, 0.5)))
    found = m.put("MatMul", x, m.weight(shape[-1], outputs, scale=shape[-1] ** -0.5))
    return m.put("Add", found, m.weight(outputs)) if found and m.chance(0.5) else found


@step(1.5)
def attention(m: Growing, x: str) -> Any:
    """Of tokens: products of activations, Softmax between."""
    shape = m.shape_of[x]
    if len(shape) != 3:
        return None
    _, tokens, width = shape
    heads, own = m.pick((1, 2)), m.pick((2, 3, 4))

    def part(order: list[int]) -> str:
        found = m.put("MatMul", x, m.weight(width, heads * own, scale=width**-0.5))
        found = m.put("Reshape", found, m.array([1, tokens, heads, own], "int64"))
        return str(m.put("Transpose", found, perm=order))

    if heads * own * tokens > _MOST or tokens * tokens * heads > _MOST:
        return None
    scores = m.put("MatMul", part([0, 2, 1, 3]), part([0, 2, 3, 1]))
    scores = m.put("Div", scores, m.array(own**0.5))
    mixed = m.put("MatMul", m.put("Softmax", scores, axis=-1), part([0, 2, 1, 3]))
    mixed = m.put("Transpose", mixed, perm=[0, 2, 1, 3])
    return m.put("Reshape", mixed, m.array([1, tokens, heads * own], "int64"))


@step(1)
def product(m: Growing, x: str) -> Any:
    """Of any two tensors that fit."""
    shape = m.shape_of[x]
    if len(shape) < 2:
        return None
    others = [n for n, s in m.shape_of.items() if len(s) >= 2 and s[-2] == shape[-1]]
    others = [n for n in others if _broadcasts(m.shape_of[n][:-2], shape[:-2])]
    if others:
        return m.put("MatMul", x, m.pick(others))
    turned = m.put("Transpose", x, perm=[*range(len(shape) - 2), len(shape) - 1, len(shape) - 2])
    return turned and m.put("MatMul", x, turned)


@step(2)
def normalization(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    kind = m.whole(0, 2)
    known = _image(m, x)
    if kind == 0 and known:
        c = known[0]
        parts = m.weight(c), m.weight(c), m.weight(c), m.array(np.abs(m.random.normal(1, 0.2, c)))
        return m.put("BatchNormalization", x, *parts)
    if kind == 1 and known and np.prod(shape[2:]) > 3:
        return m.put("InstanceNormalization", x, m.weight(known[0]), m.weight(known[0]))
    if m.opset < 17 or shape[-1] < 3:
        return None
    return m.put("LayerNormalization", x, m.weight(shape[-1]), m.weight(shape[-1]))


@step(1)
def softmax(m: Growing, x: str) -> Any:
    rank = len(m.shape_of[x])
    op = m.pick(("Softmax", "Softmax", "LogSoftmax"))
    return m.put(op, x, axis=m.whole(-rank, rank - 1))


@step(2)
def reduction(m: Growing, x: str) -> Any:
    rank = len(m.shape_of[x])
    axes = [axis for axis in range(1, rank) if m.chance(0.5)] or [rank - 1]
    axes = [axis - rank if m.chance(0.3) else axis for axis in axes]
    op = "Reduce" + m.pick(("Mean", "Mean", "Max", "Min", "Sum", "L2", "L1"))
    keep = m.whole(0, 1)
    if op == "ReduceSum" or m.opset >= 18:
        return m.put(op, x, m.array(axes, "int64"), keepdims=keep)
    return m.put(op, x, axes=axes, keepdims=keep)


@step(2)
def transpose(m: Growing, x: str) -> Any:
    order = [int(axis) for axis in m.random.permutation(np.arange(1, len(m.shape_of[x])))]
    return m.put("Transpose", x, perm=[0, *order])


@step(2)
def reshape(m: Growing, x: str) -> Any:
    size = int(np.prod(m.shape_of[x]))
    sizes = []
    for _ in range(m.whole(0, 2)):
        d = m.pick([d for d in range(1, min(size, 16) + 1) if size % d == 0])
        sizes.append(d)
        size //= d
    return m.put("Reshape", x, m.array([1, *sizes, -1], "int64"))


@step(1)
def squeeze(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    ones = [axis for axis in range(1, len(shape)) if shape[axis] == 1]
    if ones and m.chance(0.6):
        return m.put("Squeeze", x, m.array([m.pick(ones)], "int64"))
    return m.put("Unsqueeze", x, m.array([m.whole(1, len(shape))], "int64"))


@step(2)
def slice_(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    axis = m.whole(1, len(shape) - 1) if len(shape) > 1 else 0
    size = shape[axis]
    start, stop = sorted((m.whole(0, size), m.whole(0, size)))
    by = m.pick((1, 1, 2, -1))
    ends = (stop, start - size - 1) if by < 0 else (start, stop)
    return m.put("Slice", x, *(m.array([v], "int64") for v in (*ends, axis, by)))


@step(1)
def split(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    axis = m.whole(1, len(shape) - 1) if len(shape) > 1 else 0
    if shape[axis] < 2:
        return None
    at = m.whole(1, shape[axis] - 1)
    parts = m.array([at, shape[axis] - at], "int64")
    found = m.put("Split", x, parts, outputs=2, axis=axis - len(shape))
    return found and found[1]


@step(2)
def concat(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    if len(shape) < 2:
        return None
    axis = m.whole(1, len(shape) - 1)

    def rest(s: Shape) -> Shape:
        return (*s[:axis], *s[axis + 1 :])

    others = [n for n, s in m.shape_of.items() if len(s) == len(shape) and rest(s) == rest(shape)]
    parts = [x, *(m.pick(others) for _ in range(m.whole(0, 2)))]
    if m.chance(0.2):
        parts.append(m.weight(*shape))
    return m.put("Concat", *parts, axis=axis)


@step(1)
def pad(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    amounts = [m.pick((0, 0, 1, 2, -1)) if size > 2 else 0 for size in shape * 2]
    amounts[0] = amounts[len(shape)] = 0
    mode = m.pick(("constant", "reflect", "edge"))
    if mode != "constant":
        pairs = zip(amounts, shape * 2, strict=True)
        amounts = [max(0, min(amount, size - 1)) for amount, size in pairs]
    value = (m.array(m.pick((0.0, 0.5))),) if m.chance(0.5) else ()
    return m.put("Pad", x, m.array(amounts, "int64"), *value, mode=mode)


@step(1.5)
def resize(m: Growing, x: str) -> Any:
    known = _image(m, x)
    if known is None:
        return None
    mode = m.pick(("nearest", "linear", "linear", "cubic"))
    where = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
    more: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": m.pick(where)}
    if mode == "nearest":
        more["nearest_mode"] = m.pick(("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"))
    if mode == "cubic" and known[1] == 1:
        return None
    shape = m.shape_of[x]
    if m.chance(0.5):
        scales = [1.0, 1.0, *(m.pick((0.5, 1.0, 1.5, 2.0)) for _ in range(known[1]))]
        return m.put("Resize", x, "", m.array(scales), **more)
    sizes = [*shape[:2], *(m.whole(1, 2 * size) for size in shape[2:])]
    return m.put("Resize", x, "", "", m.array(sizes, "int64"), **more)


@step(1)
def shuffle(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    if len(shape) != 4:
        return None
    if shape[1] % 4 == 0 and m.chance(0.6):
        return m.put("DepthToSpace", x, blocksize=2, mode=m.pick(("DCR", "CRD")))
    return m.put("SpaceToDepth", x, blocksize=2) if not (shape[2] | shape[3]) & 1 else None


@step(1)
def channel_shuffle(m: Growing, x: str) -> Any:
    known = _image(m, x)
    if known is None or known[0] % 2:
        return None
    shape = m.shape_of[x]
    apart = m.put("Reshape", x, m.array([1, 2, shape[1] // 2, *shape[2:]], "int64"))
    mixed = apart and m.put("Transpose", apart, perm=[0, 2, 1, *range(3, len(shape) + 1)])
    return mixed and m.put("Reshape", mixed, m.array(shape, "int64"))


@step(1)
def repeat(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    if m.chance(0.5):
        times = [1, *(m.pick((1, 1, 2)) for _ in shape[1:])]
        return m.put("Tile", x, m.array(times, "int64"))
    wide = [m.whole(2, 4) if size == 1 and axis else size for axis, size in enumerate(shape)]
    return m.put("Expand", x, m.array(wide, "int64"))


@step(1)
def gather(m: Growing, x: str) -> Any:
    shape = m.shape_of[x]
    axis = m.whole(1, len(shape) - 1) if len(shape) > 1 else 0
    chosen = [m.whole(-shape[axis], shape[axis] - 1) for _ in range(m.whole(1, 4))]
    indices = m.array(chosen[0] if m.chance(0.2) else chosen, "int64")
    return m.put("Gather", x, indices, axis=axis)


@step(1)
def power(m: Growing, x: str) -> Any:
    if m.chance(0.5):
        return m.put("Mul", x, x)
    return m.put("Sqrt", m.put("Add", m.put("Pow", x, m.array(2.0)), m.array(0.1)))


@step(0.7)
def division(m: Growing, x: str) -> Any:
    others = [name for name in m.shape_of if _broadcasts(m.shape_of[name], m.shape_of[x])]
    below = m.put("Add", m.put("Abs", m.pick(others)), m.array(0.5))
    return m.put("Div", x, below)


@step(0.7)
def recurrent(m: Growing, x: str) -> Any:
    """Over the second axis of tokens, both ways."""
    shape = m.shape_of[x]
    if len(shape) != 3 or shape[1] > 12:
        return None
    steps = m.put("Transpose", x, perm=[1, 0, 2])
    op, gates = m.pick((("LSTM", 4), ("GRU", 3), ("RNN", 1)))
    way, hidden = m.pick(("forward", "reverse", "bidirectional")), m.pick((2, 3, 5))
    ways = 2 if way == "bidirectional" else 1
    parts = [m.weight(ways, gates * hidden, shape[2], scale=0.4)]
    parts.append(m.weight(ways, gates * hidden, hidden, scale=0.4))
    parts.append(m.weight(ways, 2 * gates * hidden, scale=0.1))
    more = {"linear_before_reset": m.whole(0, 1)} if op == "GRU" else {}
    count = 3 if op == "LSTM" else 2
    found = m.put(op, steps, *parts, outputs=count, hidden_size=hidden, direction=way, **more)
    if found is None:
        return None
    if m.chance(0.5):
        return m.put("Transpose", found[1], perm=[1, 0, 2])
    return m.put("Reshape", found[0], m.array([1, shape[1], ways * hidden], "int64"))


def grown(seed: int, steps: int = 8, opset: int = 20) -> Growing:
    """A model of about so many steps."""
    m = Growing(seed, opset)
    ways = list(STEPS)
    shares = np.array([STEPS[name][1] for name in ways])
    recent = list(m.inputs)
    done = tries = 0
    while done < steps and tries < 20 * steps:
        tries += 1
        x: str = recent[-1] if m.chance(0.75) else m.pick(recent)
        before = len(m.nodes), dict(m.shape_of)
        try:
            found = STEPS[ways[int(m.random.choice(len(ways), p=shares / shares.sum()))]][0](m, x)
        except KeyError:  # a part of the step was refused
            found = None
        if not found:
            del m.nodes[before[0] :]
            m.shape_of = before[1]
            continue
        recent.append(found)
        done += 1
    return m


def network(seed: int, steps: int = 8, opset: int = 20) -> Graph:
    """The graph of a random model as sources are written for it: all that nobody reads are its
    outputs."""
    m = grown(seed, steps, opset)
    read = {name for node in m.nodes for name in node.input}
    made = [name for node in m.nodes for name in node.output if name in m.shape_of]
    outputs = [name for name in made if name not in read]
    proto = helper.make_graph(
        m.nodes,
        f"random {seed}",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(m.inputs, m.shapes, strict=True)
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, m.shape_of[n]) for n in outputs],
        m.weights,
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=9)
    return spelled_out(unrolled(simplify(import_model(model))))
