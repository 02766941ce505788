"""A bundle's graph as a plain function of arrays, run by ONNX Runtime on the CPU.

The runtime opens no file: graph and weights are read and checked here and given to it as bytes.
It computes in float32, what it is given as float32; there is no setting that would round more.

Why ONNX Runtime: with the same graph of EfficientNet-Lite0 OpenVINO was as fast (a Xeon with
AVX-512, one thread), and takes 180 MB of disk for 78, 0.3 s for 0.1 to import and compile, and 30
MB more in a worker; it reads weights by a path alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmm_cli.bundles import WEIGHTS_FILE, Bundle, Weights, load_weights, read_graph
from vmm_cli.engines import choice
from vmm_cli.engines.graph_check import check
from vmm_cli.errors import ModelError


@dataclass(frozen=True, slots=True)
class Port:
    """What one input or output of a graph is: None is a length that may vary."""

    shape: tuple[int | None, ...]
    type: str = "float32"  # as numpy calls it

    def __str__(self) -> str:
        return f"{self.type}[{', '.join('any' if n is None else str(n) for n in self.shape)}]"


Ports = Mapping[str, Port]  # inputs or outputs by name, in order
# The inputs' arrays in their order -> the outputs' arrays in their order.
Run = Callable[..., tuple[np.ndarray, ...]]

_ERRORS_ONLY = 3  # of ONNX Runtime's log
# What the runtime calls otherwise than numpy does.
_TYPES = {"float": "float32", "double": "float64"}


def graph_of(
    bundle: Bundle,
    role: str,
    *,
    inputs: Ports,
    outputs: Ports,
    weights: Weights | None = None,
    device: str = "cpu",
) -> Run | None:
    """Return a network of a bundle as a function; None where PyTorch is to run it.

    PyTorch does where the bundle has no such graph, on another device than the CPU, where the
    runtime is missing or too old, and where the user wants it ($VMM_ENGINE).

    Args:
        bundle: that has the graph.
        role: what it is of, see `Bundle.graphs`.
        inputs, outputs: what the network must take and give: names, shapes and types.
        weights: the bundle's, where they have been read already.
        device: that networks are to run on.

    Raises:
        ModelError: the graph is damaged, of a newer vmm, or of another network; or the user wants
            graphs alone and there is none.
        UsageError: $VMM_ENGINE is no engine.
    """
    wanted = choice.chosen_engine()
    if device != "cpu" or wanted == choice.TORCH:
        return None
    if role not in bundle.graphs:
        if wanted == choice.AUTO:
            return None
        raise ModelError(
            f"model {bundle.name!r} has no graph of its network ({role}); "
            f"leave out {choice.VARIABLE}, so that PyTorch runs it"
        )
    if choice.runtime() is None:
        return None
    data = read_graph(bundle, role)
    try:
        return compiled(data, weights or load_weights(bundle), inputs=inputs, outputs=outputs)
    except ValueError as error:
        file = bundle.folder / bundle.graphs[role].file
        raise ModelError(
            f"{file}: refused: {error}; fetch or train the model {bundle.name!r} again, or update "
            "vmm-cli"
        ) from None


def compiled(data: bytes, weights: Weights, *, inputs: Ports, outputs: Ports) -> Run:
    """Return a graph, whose large tensors are those of `weights`, as a function.

    Raises:
        ValueError: it is damaged, or another than what is wanted.
    """
    check(data, weights.stored)
    runtime = choice.runtime()
    assert runtime is not None, "asked for where there is no runtime"
    session = _session(runtime, data, weights)
    for does, wanted, there in (
        ("takes", inputs, session.get_inputs()),
        ("gives", outputs, session.get_outputs()),
    ):
        if (found := ports_of(there)) != dict(wanted):
            said, asked = _said(found), _said(wanted)
            raise ValueError(f"it is of another network: it {does} {said}, and not {asked}")
    taken, given = list(inputs), list(outputs)

    def run(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            return tuple(session.run(given, dict(zip(taken, arrays, strict=True))))
        except Exception as error:  # the runtime's errors have no common type
            said = " ".join(str(error).split())[:300]
            raise ModelError(
                f"a model's graph cannot compute what it should: {said}; fetch or train it again"
            ) from None

    return run


def _session(runtime: Any, data: bytes, weights: Weights) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = choice.threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait would take the cores of other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers_from_files_in_memory(
        [WEIGHTS_FILE], [weights.data], [len(weights.data)]
    )
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common type
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"the runtime cannot make a network of it: {said}") from None


def ports_of(ports: list[Any]) -> dict[str, Port]:
    """Return the inputs or outputs of a session as ports."""
    found = {}
    for port in ports:
        name = port.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(size if isinstance(size, int) else None for size in port.shape)
        found[port.name] = Port(shape, _TYPES.get(name, name))
    return found


def _said(ports: Ports) -> str:
    return ", ".join(f"{name} {port}" for name, port in ports.items()) or "nothing"
