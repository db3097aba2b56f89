"""What the calls of a network need around them: constants, structures, pointers, kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from compiler_core.errors import InputError
from compiler_core.units.cpu.c.emit.text import C_TYPES
from compiler_core.units.cpu.c.network import ITEM_BYTES, Array, Network, Operator
from compiler_core.units.cpu.c.plan.memory import SCRATCH, MemoryPlan

_MOST = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class Constant:
    """An array in ``weights.c``.

    Attributes:
        name: C name.
        dtype: Element type.
        array: Its elements.
    """

    name: str
    dtype: str
    array: Array

    @property
    def size_bytes(self) -> int:
        """Bytes in flash."""
        return self.array.size * np.dtype(self.dtype).itemsize


class Context:
    """Collects what calls ask for.

    Args:
        name: C name of the model.
        network: What is written.
        plan: Its memory.
    """

    def __init__(self, name: str, network: Network, plan: MemoryPlan) -> None:
        self.name = name
        self.network = network
        self.plan = plan
        self.constants: dict[tuple[str, bytes], Constant] = {}
        self.structures: dict[tuple[str, str], str] = {}
        self.numbers: dict[tuple[int, ...], str] = {}
        self.kernels: dict[str, None] = {}
        self.generated: dict[str, str] = {}
        self.step = 0
        self.library = False
        self._unpacked = ""
        for value in network.values.values():
            if value.size_bytes > _MOST:
                raise InputError(
                    f"tensor {value.source!r} takes {value.size_bytes} bytes; "
                    f"generated C indexes at most {_MOST}"
                )

        if plan.arena_bytes > _MOST:
            raise InputError(
                f"the arena takes {plan.arena_bytes} bytes; generated C indexes at most {_MOST}"
            )

    def kernel(self, name: str) -> str:
        """Asks for a kernel by the name of its file; gives that of its function."""
        self.kernels[name] = None
        return f"nt_{name}"

    def function(self, text: str) -> str:
        """Name of a generated function, whose text has ``@`` for it; equal ones are one."""
        return self.generated.setdefault(text, f"nt_g{len(self.generated)}")

    def constant(self, array: Array, dtype: str) -> str:
        """C name of an array of constants; equal ones are one."""
        data = np.ascontiguousarray(array).astype(dtype)
        if data.nbytes > _MOST:
            raise InputError(f"an array of weights takes {data.nbytes} bytes; at most {_MOST}")
        key = dtype, data.tobytes()
        if key not in self.constants:
            name = f"{self.name}_c{len(self.constants)}"
            self.constants[key] = Constant(name, dtype, data)
        return self.constants[key].name

    def structure(self, kind: str, fields: str) -> str:
        """Address of a constant structure with fields as an initializer."""
        key = kind, fields
        if key not in self.structures:
            self.structures[key] = f"p{len(self.structures)}"
        return f"&{self.structures[key]}"

    def given(self, values: Sequence[int]) -> str:
        """An array of integers of 32 bits, for a function; equal ones are one.

        Raises:
            InputError: One is none of 32 bits.
        """
        key = tuple(checked(value) for value in values)
        return self.numbers.setdefault(key, f"q{len(self.numbers)}")

    def pointer(self, value: str) -> str:
        """Where a value lies, as an expression of its type."""
        home, start = self.plan.home[value], self.plan.start[value]
        dtype = self.network.values[value].type.dtype
        behind = f" + {start}" if start else ""
        if home in self.network.constants:
            return self.constant(self.network.constants[home], dtype) + behind
        if home in self.network.inputs:
            return f"input{self.network.inputs.index(home)}{behind}"
        direct = self._outputs().get(home)
        if direct is not None:
            return direct + behind
        return place(dtype, self.plan.packing.offsets[home] + start * ITEM_BYTES[dtype])

    def weights(self, array: Array) -> str:
        """Where weights of 8 bits are read: of a constant, or where they have been unpacked."""
        return self._unpacked or self.constant(array, "int8")

    @contextmanager
    def unpacked(self, at: str) -> Iterator[None]:
        """Weights of the operator that is written inside are read from a place of the arena."""
        self._unpacked = at
        try:
            yield
        finally:
            self._unpacked = ""

    def scratch(self, dtype: str, behind: int = 0) -> str:
        """The buffer of the operator that is written, from so many bytes behind its beginning."""
        return place(dtype, self.plan.packing.offsets[f"{SCRATCH}{self.step}"] + behind)

    def _outputs(self) -> Mapping[str, str]:
        return {
            self.plan.home[name]: f"output{position}"
            for position, name in enumerate(self.network.outputs)
            if name not in self.plan.copied
        }

    def inputs(self, operator: Operator) -> list[str]:
        """Pointers of an operator's inputs."""
        return [self.pointer(name) for name in operator.inputs]

    def size(self, value: str) -> int:
        """Elements of a value."""
        return self.network.values[value].size

    def shape(self, value: str) -> tuple[int, ...]:
        """Shape of a value."""
        return self.network.values[value].shape

    def dtype(self, value: str) -> str:
        """Element type of a value."""
        return self.network.values[value].type.dtype


def place(dtype: str, offset: int) -> str:
    """A place of the arena."""
    at = f"(memory + {offset})" if offset else "memory"
    return f"({C_TYPES[dtype]} *)(void *){at}"


def checked(value: int) -> int:
    """The number itself.

    Raises:
        InputError: It does not fit 32 bits.
    """
    if not -(1 << 31) <= value < 1 << 31:
        raise InputError(f"a parameter is {value}; generated C has 32 bits")
    return int(value)
