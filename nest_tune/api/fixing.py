"""Models with fewer inputs: some hold a value from now on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from compiler_core.graph.fixed_inputs import with_fixed_inputs
from compiler_core.graph.reader import ImportLimits, read_model
from nest_tune.api.values import Model, model_file


def fix_inputs(model: Model, values: Mapping[str, Any]) -> onnx.ModelProto:
    """A model some of whose inputs hold a value: what follows from them is folded when it is
    compiled, and a branch of If that they decide is the model. All functions and commands take the
    result as they take any model.

    Args:
        model: ONNX file or ``onnx.ModelProto``, which stays as it is.
        values: Value per input: one for every element, or as many as the input has elements.

    Raises:
        InputError: The file is damaged, there is no such input, or it does not take that value.

    Example:
        >>> import nest_tune
        >>> import onnx
        >>> from onnx import TensorProto, helper
        >>> x, gain, y = (
        ...     helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        ...     for name, shape in (("x", [1, 4]), ("gain", []), ("y", [1, 4]))
        ... )
        >>> node = helper.make_node("Mul", ["x", "gain"], ["y"])
        >>> model = helper.make_model(helper.make_graph([node], "louder", [x, gain], [y]))
        >>> [item.name for item in nest_tune.fix_inputs(model, {"gain": 2.0}).graph.input]
        ['x']
    """
    if isinstance(model, onnx.ModelProto):
        return with_fixed_inputs(model, values)
    return with_fixed_inputs(read_model(model_file(model), ImportLimits()), values)
