"""Sessions of onnxruntime with options of their own.

It needs Python 3.9 and onnxruntime, so that it also runs where nothing else of this project is.
"""

from __future__ import annotations

from typing import Any


def session_options(threads: int, *, spinning: bool, optimization: str) -> Any:
    """Options as onnxruntime takes them.

    Args:
        threads: Of one operator.
        spinning: Whether threads wait for work at full speed.
        optimization: How far the runtime rewrites the graph: ``all``, ``layout`` (``all`` where the
            runtime does not know it), ``extended``, ``basic``, ``disabled``.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "layout": getattr(levels, "ORT_ENABLE_LAYOUT", levels.ORT_ENABLE_ALL),
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "disabled": levels.ORT_DISABLE_ALL,
    }[optimization]
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(model: bytes, options: Any, provider: str) -> Any:
    """A session with kernels of a provider, and the CPU's own for what it lacks.

    Raises:
        ValueError: This onnxruntime does not have the provider.
    """
    import onnxruntime

    known = onnxruntime.get_available_providers()
    if provider not in known:
        raise ValueError(f"provider {provider!r} is not in onnxruntime; it has {', '.join(known)}")
    providers = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
    return onnxruntime.InferenceSession(model, options, providers=providers)
