"""How onnxruntime runs a model, in configurations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.clock.choices import (
    CPU_PROVIDER,
    OPTIMIZATIONS,
    available_providers,
    possible_optimizations,
    possible_threads,
)
from compiler_core.configuration.configuration import (
    Configuration,
    configuration_text,
    parse_configuration,
)
from compiler_core.configuration.runtime import (
    Runtime,
    read_runtime,
    require_provider,
    runtime_table,
)
from compiler_core.errors import InputError

RUNTIMES = st.builds(
    Runtime,
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from(OPTIMIZATIONS),
    st.sampled_from([CPU_PROVIDER, "XNNPACKExecutionProvider"]),
)


@given(RUNTIMES)
def test_what_is_written_is_read(runtime: Runtime) -> None:
    assert read_runtime(runtime_table(runtime), "here") == runtime
    text = configuration_text(Configuration(runtime=runtime))
    assert ("[runtime]" in text) == (runtime != Runtime())
    assert parse_configuration(text.encode(), "here").runtime == runtime
    assert runtime.providers[-1] == CPU_PROVIDER
    assert runtime.session_options().intra_op_num_threads == runtime.threads


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"threads": 0}, "1 to 1024"),
        ({"threads": "two"}, "threads"),
        ({"optimization": "al"}, "allowed are all, layout, extended"),
        ({"thread": 2}, "thread"),
        (["threads"], "runtime"),
    ],
)
def test_what_is_refused(table: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_runtime(table, "runtime")


def test_layouts_are_a_level_of_their_own_where_the_runtime_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Older:
        ORT_ENABLE_ALL, ORT_ENABLE_EXTENDED, ORT_ENABLE_BASIC, ORT_DISABLE_ALL = range(4)

    assert possible_optimizations()[-2:] == ("extended", "basic")
    monkeypatch.setattr("onnxruntime.GraphOptimizationLevel", Older)
    assert possible_optimizations() == ("all", "extended", "basic")


def test_what_this_machine_has() -> None:
    assert available_providers()[0] == CPU_PROVIDER
    assert "AzureExecutionProvider" not in available_providers()
    threads = possible_threads()
    assert threads[0] == 1
    assert list(threads) == sorted(set(threads))
    require_provider(Runtime())
    with pytest.raises(InputError, match="is not in this onnxruntime"):
        require_provider(Runtime(provider="NoExecutionProvider"))
