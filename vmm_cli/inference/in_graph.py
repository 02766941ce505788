"""A trained network as compiled graphs, which need no PyTorch: see `vmm_cli.engines`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vmm_cli.bundles import Bundle, Weights
from vmm_cli.engines.graph import Port, Ports, Run, graph_of
from vmm_cli.errors import ModelError
from vmm_cli.inference.network import (
    DEFAULT_HEAD,
    OF_STEPS,
    StepNetwork,
    Streams,
    WindowNetwork,
    anchor_steps,
)
from vmm_cli.networks import reach

# What graphs are of: a network for windows as a whole; or, of one for steps, what comes before its
# head, and the head.
WHOLE, FUSED, HEAD = "network", "fused", "head"


def roles_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what graphs a network is run as; none where its head is not vmm's own."""
    head = about.get("head", DEFAULT_HEAD)
    if head in OF_STEPS:
        return (FUSED, HEAD)
    return (WHOLE,) if head in ("classes", "valence") else ()


def ports_of(about: Mapping[str, Any], role: str) -> tuple[Ports, Ports]:
    """Return what a graph takes and gives, by the description of the network in its bundle."""
    width, labels, head = about["width"], about["outputs"], about.get("head", DEFAULT_HEAD)
    mask = Port((None, None), "bool")
    fused: Ports = {"x": Port((None, None, width)), "there": mask}
    steps: Ports = {"step_logits": Port((None, None, labels))}
    if role == HEAD:
        points: Ports = {
            "logits": Port((None, None, labels)),
            "offsets": Port((None, None, 2)),
        }
        return fused, {**steps, **points} if head == "segments" else steps
    streams: dict[str, Port] = {}
    for shape in about["streams"]:
        is_text = shape["kind"] == "tokens"
        values = Port((None, None), "int64") if is_text else Port((None, None, shape["width"]))
        streams[f"values.{shape['name']}"] = values
        streams[f"mask.{shape['name']}"] = mask
    streams["grid"] = mask
    if role == FUSED:
        return streams, fused
    return streams, {"outputs": Port((None, labels + (head == "valence")))}


def inputs_of(
    names: Sequence[str], values: Streams, masks: Streams, grid: np.ndarray
) -> list[np.ndarray]:
    """Return what a graph takes, in order; the patches of a step lie in a row."""
    inputs = []
    for name in names:
        value = values[name]
        inputs.append(value.reshape(*value.shape[:2], -1) if value.ndim > 3 else value)
        inputs.append(masks[name])
    return [*inputs, grid]


def window_network(bundle: Bundle, weights: Weights) -> WindowNetwork | None:
    """Return a network for windows; None where PyTorch is to run it. ModelError as `graph_of`."""
    if roles_of(bundle.network) != (WHOLE,):
        return None
    run = _graph(bundle, weights, WHOLE)
    if run is None:
        return None
    names = [shape["name"] for shape in bundle.network["streams"]]

    def whole(values: Streams, masks: Streams, grid: np.ndarray) -> np.ndarray:
        (outputs,) = run(*inputs_of(names, values, masks, grid))
        _refuse_shapes(bundle, outputs.shape[:1] == grid.shape[:1])
        return outputs

    return whole


def step_network(bundle: Bundle, weights: Weights) -> StepNetwork | None:
    """Return a network for steps; None where PyTorch is to run it.

    Raises:
        ModelError: as `graph_of`.
        ValueError: what its head is given depends on the whole video.
    """
    about = bundle.network
    kinds = [shape["kind"] for shape in about["streams"]]
    beside = reach.of_fused(
        about["temporal"], about["layers"], about["fusion"], only_text=set(kinds) == {"tokens"}
    )
    if beside is None:
        raise ValueError("what it says of a step depends on the whole video")
    first, last = (_graph(bundle, weights, role) for role in (FUSED, HEAD))
    if first is None or last is None:
        return None
    names = [shape["name"] for shape in about["streams"]]
    levels = about.get("levels", 1) if about["head"] == "segments" else 0

    def fused(values: Streams, masks: Streams, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, mask = first(*inputs_of(names, values, masks, grid))
        _refuse_shapes(bundle, x.shape[:2] == mask.shape == grid.shape)
        return x, mask

    def head(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        given = last(x, mask)
        points = len(anchor_steps(mask.shape[1], levels)) if levels else 0
        wanted = [mask.shape, *[(len(mask), points)] * (len(given) - 1)]
        _refuse_shapes(bundle, [part.shape[:2] for part in given] == wanted)
        return given

    return StepNetwork(fused, head, beside, levels)


def _graph(bundle: Bundle, weights: Weights, role: str) -> Run | None:
    inputs, outputs = ports_of(bundle.network, role)
    run = graph_of(bundle, role, inputs=inputs, outputs=outputs, weights=weights)
    if run is None:
        return None

    def checked(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            return run(*arrays)
        except Exception as error:  # the runtime's errors have no common type
            said = " ".join(str(error).split())[:300]
            raise _other_graph(bundle, f"the runtime says: {said}") from None

    return checked


def _refuse_shapes(bundle: Bundle, fit: bool) -> None:
    if not fit:
        raise _other_graph(bundle, "what it gives is of another shape than what it was given")


def _other_graph(bundle: Bundle, reason: str) -> ModelError:
    return ModelError(
        f"model {bundle.name!r} has a graph that cannot be run: {reason}; fetch or train it again"
    )
