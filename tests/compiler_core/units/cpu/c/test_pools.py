"""Random pools whose size is rounded up, against onnxruntime."""

from __future__ import annotations

import numpy as np

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.units.cpu.c.bundles.bundle import expected
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.graph.test_rounded_up import drawn_pool


def test_sizes_that_are_rounded_up() -> None:
    random = np.random.default_rng(5)
    refused = tried = 0
    while tried < 60:
        model, shape = drawn_pool(random)
        if len(shape) > 4 or model.graph.node[0].op_type == "LpPool":
            continue
        tried += 1
        graph, sample = simplify(import_model(model)), random.normal(size=shape).astype("f")
        [wanted] = FloatSession(graph).run({"x": sample}).values()
        try:
            net = to_network(graph, {}, Options(precision="float32"))
        except InputError as error:
            if "in the padding altogether" not in error.message:
                raise
            refused += 1
            continue
        _, [found] = expected(net, {"x": sample})
        real = net.real(net.outputs[0], found).reshape(wanted.shape)
        np.testing.assert_allclose(real, wanted, rtol=1e-5, atol=1e-6)
    assert refused < 12
