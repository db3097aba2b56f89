"""Random small networks full of borders: tensors that units of both kinds read, at several scales,
through views, concatenations and residuals, and that the caller of the model reads too."""

from __future__ import annotations

import random
from types import ModuleType

Shape = tuple[int, ...]

_ON_CPU_ONLY = ("Sigmoid", "Tanh", "Softplus")


class BorderNetwork:
    """Grows a network in which most tensors have several readers.

    Args:
        synthetic: The module ``synthetic_models``.
        seed: Of everything that is drawn.
    """

    def __init__(self, synthetic: ModuleType, seed: int) -> None:
        self._draw = random.Random(seed)
        self._builder = synthetic.Builder(seed)
        size = self._draw.choice((4, 6))
        self._batch: object = self._draw.choice(("n", "n", 2))
        self.shapes: dict[str, Shape] = {"x": (self._draw.choice((3, 16, 20)), size, size)}
        self._kinds = (self._conv, self._conv, self._function, self._add, self._concat,
                       self._pool, self._flat, self._clamp, self._scale)  # fmt: skip

    def grow(self, steps: int, newest: float = 0.0) -> bytes:
        """The model, as a serialized ``ModelProto``.

        Args:
            steps: Operators to draw.
            newest: How often the next one reads the newest tensor, whatever is drawn.
        """
        for number in range(steps):
            # Older tensors are drawn again, so that they gather readers on both units.
            known = [n for n, shape in self.shapes.items() if len(shape) == 3]
            source = self._draw.choice(known)
            if newest and self._draw.random() < newest:
                source = known[-1]
            self._draw.choice(self._kinds)(source, f"t{number}")
        read = {name for node in self._builder.nodes for name in node.input}
        outputs = [n for n in self.shapes if n not in read and n != "x"]
        also = [n for n in self.shapes if n in read and n != "x"]
        outputs += self._draw.sample(also, min(len(also), self._draw.choice((0, 1, 2))))
        content: bytes = self._builder.model(
            {"x": [self._batch, *self.shapes["x"]]},
            {name: [self._batch, *self.shapes[name]] for name in outputs},
        )
        return content

    def _conv(self, source: str, name: str) -> None:
        channels, height, width = self.shapes[source]
        out, kernel = self._draw.choice((8, 16, 20)), self._draw.choice((1, 3))
        self._builder.conv(source, name, (out, channels, kernel, kernel))
        self.shapes[name] = (out, height, width)

    def _function(self, source: str, name: str) -> None:
        self._builder.add(self._draw.choice(_ON_CPU_ONLY), [source], name)
        self.shapes[name] = self.shapes[source]

    def _clamp(self, source: str, name: str) -> None:
        self._builder.add("Relu", [source], name)
        self.shapes[name] = self.shapes[source]

    def _scale(self, source: str, name: str) -> None:
        """The same values many times larger: another scale, on the CPU."""
        self._builder.add("Mul", [source, source], name)
        self.shapes[name] = self.shapes[source]

    def _add(self, source: str, name: str) -> None:
        same = [n for n, shape in self.shapes.items() if shape == self.shapes[source]]
        self._builder.add("Add", [source, self._draw.choice(same)], name)
        self.shapes[name] = self.shapes[source]

    def _concat(self, source: str, name: str) -> None:
        wanted = self.shapes[source][1:]
        like = [n for n, s in self.shapes.items() if len(s) == 3 and s[1:] == wanted]
        parts = [source, *self._draw.choices(like, k=self._draw.choice((1, 2)))]
        self._builder.add("Concat", parts, name, axis=1)
        self.shapes[name] = (sum(self.shapes[part][0] for part in parts), *wanted)

    def _pool(self, source: str, name: str) -> None:
        op = self._draw.choice(("MaxPool", "AveragePool"))
        pads = {"pads": [1] * 4} if op == "MaxPool" else {"pads": [1] * 4, "count_include_pad": 1}
        self._builder.add(op, [source], name, kernel_shape=[3, 3], strides=[1, 1], **pads)
        self.shapes[name] = self.shapes[source]

    def _flat(self, source: str, name: str) -> None:
        """A dense operator, and often a function, behind a view."""
        channels, height, width = self.shapes[source]
        values = channels * height * width
        self._builder.add("Flatten", [source], f"{name}_f")
        self.shapes[f"{name}_f"] = (values,)
        self._builder.dense(f"{name}_f", name, values, 10)
        self.shapes[name] = (10,)
        if self._draw.random() < 0.5:
            self._builder.add("Sigmoid", [f"{name}_f"], f"{name}_s")
            self.shapes[f"{name}_s"] = (values,)
