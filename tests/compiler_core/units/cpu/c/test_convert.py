"""From graphs to networks: decisions, what is refused and how, hostile names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles.bundle import write_bundle
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.emit.sources import write_sources
from compiler_core.units.cpu.c.emit.text import check_identifier, comment, identifier
from compiler_core.units.cpu.c.network import Network, Type, Value
from compiler_core.units.cpu.c.operators.moves import Resample, View
from compiler_core.units.cpu.c.operators.pointwise import Rescale, Table
from compiler_core.units.cpu.c.operators.weighted import Convolution
from compiler_core.units.cpu.c.plan.memory import plan_memory
from tests.compiler_core.units.cpu.c.cases import CASES, Model, prepared, ranges_of, samples
from tests.compiler_core.units.cpu.c.made import make_bundle


def test_an_expression_becomes_one_table() -> None:
    graph = CASES["gelu_written_out"]()
    network = to_network(graph, ranges_of(graph))
    assert [type(item) for item in network.operators] == [Table]


@pytest.mark.parametrize(
    ("op", "name", "more"),
    [
        ("DepthToSpace", "mode", {"blocksize": 2}),
        ("Gelu", "approximate", {}),
        ("Pad", "mode", {}),
        ("Resize", "coordinate_transformation_mode", {}),
    ],
)
def test_words_that_are_no_text_are_refused(op: str, name: str, more: dict[str, int]) -> None:
    m = Model((1, 4, 2, 2))
    words = {"Pad": [m.array([0] * 7 + [1], "int64")], "Resize": ["", m.array([1, 1, 2, 2])]}.get(
        op, []
    )
    found = m.node(op, "x0", *words, **more, **{name: b"\xff\xfe"})
    graph = m.graph(m.node("Add", found, m.array(1.0)))
    with pytest.raises(InputError, match=r"cannot be written as C: .*'\\\\xff\\\\xfe'"):
        require_kernels(spelled_out(graph), "float32")


def test_what_flows_into_a_concat_alone_has_its_type() -> None:
    graph = CASES["concat"]()  # its second input is an output, too, and its third the model's
    network = to_network(graph, ranges_of(graph))
    rescaled = [item.inputs[0] for item in network.operators if isinstance(item, Rescale)]
    assert "t0_0" not in {network.values[name].source for name in rescaled}
    assert rescaled


@pytest.mark.parametrize("name", ["conv", "conv_depthwise", "dense", "dense_tokens"])
def test_int4_weights(name: str, tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    graph = CASES[name]()
    weighted = {node.name: 4 for node in graph.nodes if node.op in ("Conv", "Dense", "Gemm")}
    options = Options(weight_bits=weighted)
    bundle = make_bundle(graph, ranges_of(graph), "small", options)
    plain = make_bundle(graph, ranges_of(graph), "plain")
    assert bundle.sources.constant_bytes < plain.sources.constant_bytes
    write_bundle(bundle, tmp_path, samples(graph, 3))
    assert "3 of 3" in check_bundle(tmp_path, "gcc", "-O2", "-fsanitize=undefined")


@pytest.mark.parametrize("name", ["concat", "residual", "transposes"])
def test_ports_as_in_the_model(name: str, tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    graph = CASES[name]()
    options = Options(float_ports=True, channels_last=False)
    bundle = make_bundle(graph, ranges_of(graph), "ports", options)
    network = bundle.network
    ports = (*network.inputs, *network.outputs)
    for port, tensor in zip(ports, network.tensors, strict=True):
        value = network.values[port]
        assert graph.types[tensor].shape == value.shape
        assert value.type.is_float
        assert network.axes[port] == tuple(range(len(value.shape)))
    write_bundle(bundle, tmp_path, samples(graph, 2))
    assert "2 of 2" in check_bundle(tmp_path, "gcc", "-O2")


def test_layers_stay_float() -> None:
    graph = CASES["residual"]()
    first = next(node.name for node in graph.nodes if node.op == "Conv")
    network = to_network(graph, ranges_of(graph), Options(float_layers=frozenset({first})))
    kinds = [type(item).__name__ for item in network.operators]
    assert kinds.count("RealConvolution") == 1
    assert kinds.count("Convolution") == 1


def test_a_large_bias_beside_small_weights_keeps_its_value() -> None:
    m = Model((1, 2, 3, 3))
    weight = m.array(np.full((1, 2, 1, 1), 1e-9))
    graph = m.graph(m.node("Conv", "x0", weight, m.array([5.0])))
    network = to_network(graph, ranges_of(graph))
    (operator,) = network.operators
    assert isinstance(operator, Convolution)
    sample = samples(graph, 1)[0]
    name = network.inputs[0]
    found = network.run({name: network.quantized(name, sample["x0"])})
    real = network.real(network.outputs[0], found[network.outputs[0]])
    np.testing.assert_allclose(real, 5.0, rtol=0.01)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda m: m.node("TopK", "x0", m.array([1], "int64"), outputs=2)[0],
            ("TopK", "statistics"),
        ),
        (lambda m: m.node("Sin", "x0"), ("Sin", "statistics", "float32")),
        (lambda m: m.node("Det", "x0"), ("Det", "no kernel")),
        (
            lambda m: m.node(
                "Resize",
                "x0",
                m.array([0.0] * 4 + [1.0] * 4),
                m.array([1.0, 1, 2, 2]),
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            ("Resize", "tf_crop_and_resize"),
        ),
        (
            lambda m: m.node("Pad", "x0", m.array([0] * 7 + [1], "int64"), mode="reflect"),
            ("Pad", "reflect"),
        ),
    ],
)
def test_refusals_name_node_and_reason(
    build: Callable[[Model], str], words: tuple[str, ...]
) -> None:
    m = Model((1, 2, 4, 4))
    graph = m.graph(build(m))
    with pytest.raises(InputError) as refused:
        to_network(graph, {})
    for word in ("node", *words):
        assert word in str(refused.value)


def test_what_has_no_kernel_is_told_before_anything_is_spent_and_what_goes_without_it() -> None:
    m = Model((1, 16))
    scores = m.node("Softmax", "x0", axis=-1)
    require_kernels(m.graph(scores))
    label = m.node("Det", m.node("Reshape", scores, m.array([1, 4, 4], "int64")))
    with pytest.raises(InputError, match=r"\(Det\) .*no kernel for this operator") as told:
        require_kernels(m.graph(label))
    assert "lists the operators" in str(told.value.hint)
    with pytest.raises(InputError, match=r"\(Det\)") as told:
        require_kernels(m.graph(scores, label))
    assert told.value.hint == (
        f"without them: onnx.utils.extract_model(FILE, NEW_FILE, ['x0'], [{scores!r}])"
    )


def test_what_asks_too_much_of_its_kernel_is_told_before_anything_is_spent() -> None:
    m = Model((1, 2, 6, 6))
    node = m.node("MaxPool", "x0", kernel_shape=[2, 2], outputs=2)
    with pytest.raises(InputError, match=r"\(MaxPool\) .*it writes indices"):
        require_kernels(m.graph(*node))
    m = Model((1, 2, 6, 6))
    sizes = m.array([1.0, 1, 2, 2])
    cubic = m.graph(m.node("Resize", "x0", "", sizes, mode="cubic", cubic_coeff_a=-60.0))
    with pytest.raises(InputError, match=r"\(Resize\) .*sums of 32 bits"):
        require_kernels(cubic)
    require_kernels(cubic, "float32")


def test_unknown_names_are_refused() -> None:
    graph = CASES["conv"]()
    with pytest.raises(InputError, match="no node 'other'"):
        to_network(graph, ranges_of(graph), Options(weight_bits={"other": 4}))
    with pytest.raises(InputError, match="5 bits"):
        Options(weight_bits={"a": 5})
    with pytest.raises(InputError, match="bf16"):
        Options(precision="bf16")


@pytest.mark.parametrize("text", ["int", "1a", "", "a b", "a__b", "nt_x", "a" * 41, "a;", "é"])
def test_names_that_c_does_not_take(text: str) -> None:
    with pytest.raises(InputError) as refused:
        check_identifier(text)
    assert refused.value.hint is not None
    assert check_identifier(refused.value.hint.split()[-1])


@given(st.text(max_size=60))
def test_every_text_has_a_name(text: str) -> None:
    assert check_identifier(identifier(text))


@given(st.text(alphabet=st.sampled_from("*/\\?\n\r\t a\x00\x1b\u202e=="), max_size=120))
def test_comments_stay_comments(text: str) -> None:
    shown = comment(text)
    assert "*" not in shown
    assert "//" not in shown
    assert "\\" not in shown
    assert "??" not in shown
    assert all(32 <= ord(sign) < 127 for sign in shown)
    assert len(shown) <= 80


def test_hostile_names_in_a_bundle(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    m = Model((1, 4, 6))
    evil = '*/ int main(void){return 7;} /* \\ ??/ " %s \u202e'
    found = m.node("Tanh", "x0", name=evil)
    graph = m.graph(m.node("Softmax", found, name=evil + "\n#error"))
    bundle = make_bundle(graph, ranges_of(graph), "evil")
    write_bundle(bundle, tmp_path, samples(graph, 1))
    assert "1 of 1" in check_bundle(tmp_path, "gcc", "-O1", "-trigraphs")


def test_huge_tensors_are_refused() -> None:
    values = {name: Value(name, name, (1 << 31,), Type("int8")) for name in ("x", "y")}
    operators = (View("v", ("x",), "y"),)
    axes = {"x": (0,), "y": (0,)}
    network = Network("n", values, ("x",), ("y",), ("x", "y"), axes, operators)
    with pytest.raises(InputError, match="2147483648 bytes"):
        write_sources(network, plan_memory(network), "huge")


def test_runs_are_reentrant_and_check_their_pointers(
    tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, bundle = prepared("residual", "int8")
    write_bundle(bundle, tmp_path, samples(graph, 1))
    (tmp_path / "selftest.c").write_text(
        """
#include "model.h"
static union { double d; unsigned char b[SAMPLE_MODEL_ARENA_BYTES + 32]; } m;
static int8_t x[SAMPLE_MODEL_INPUT0_SIZE], y[SAMPLE_MODEL_OUTPUT0_SIZE];
int main(void) {
  unsigned char *a = m.b + ((0u - (uintptr_t)m.b) & 15u);
  if (sample_model_run(0, x, y) != 1 || sample_model_run(a, 0, y) != 1) return 1;
  if (sample_model_run(a, x, 0) != 1 || sample_model_run(a + 1, x, y) != 2) return 2;
  return sample_model_run(a, x, y);
}
"""
    )
    check_bundle(tmp_path, "gcc", "-O1", "-fsanitize=address,undefined")


def test_coefficients_that_sums_of_32_bits_do_not_hold_are_for_float_alone() -> None:
    m = Model((1, 2, 6, 6))
    sizes = m.array([1.0, 1, 2, 2])
    node = m.node("Resize", "x0", "", sizes, mode="cubic", cubic_coeff_a=-60.0)
    graph = m.graph(node)
    with pytest.raises(InputError, match="sums of 32 bits"):
        to_network(graph, ranges_of(graph))
    network = to_network(graph, {}, Options(precision="float32"))
    assert [type(step) for step in network.operators] == [Resample, Resample]
