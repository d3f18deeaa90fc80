"""A graph as onnxruntime computes it."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from foldmap.errors import MissingExtraError
from foldmap.runtime.threads import thread_count
from foldmap.types import FloatArray


def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def open_session(graph: bytes) -> Any:
    """A session of a graph; a MissingExtraError where onnxruntime is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime is not installed", "pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # between steps others work
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def compute(session: Any, **inputs: FloatArray) -> FloatArray:
    """The graph's output for its inputs by name, float32."""
    made: FloatArray = session.run(None, {name: np.ascontiguousarray(value) for name, value in inputs.items()})[0]
    return made
