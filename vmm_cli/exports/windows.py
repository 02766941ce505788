"""Models of `vmm train` that see pictures alone, as one graph: a window's pictures to its labels.

The encoder's graph and that of the network are joined. A window may have any number of pictures:
the last one of a video ends with it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.exports.network import (
    PROBABILITIES,
    WHAT_CAN,
    Exportable,
    Run,
    encoder_graph,
    taken_in,
)
from vmm_cli.features.catalogue import entry_of
from vmm_cli.features.image_stream import FEATURES, PICTURES, STREAM, carrier_of
from vmm_cli.features.plan import plan_of
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.inference.in_graph import WHOLE, ports_of
from vmm_cli.inference.load import check, load_trained, temperature_of
from vmm_cli.inference.network import DEFAULT_HEAD, sigmoid, softmax

TEMPERATURE = "temperature"


def exportable(bundle: Bundle) -> Exportable:
    """Return a model as what is exported.

    Raises:
        ModelError: it is damaged, or sees or says more than one graph of pictures can.
    """
    plan = plan_of(bundle)
    check(bundle)
    if reason := _obstacle(bundle, plan.window_s * plan.rate_hz):
        raise ModelError(f"model {bundle.name!r} cannot be exported: {reason}")
    try:
        picture = Preprocess.from_dict(bundle.encoders[STREAM].preprocess)
        if picture.frames > 1:
            raise ModelError(f"model {bundle.name!r} cannot be exported: its windows are of clips")
        numbers = replace(picture, frames=plan.steps, rate_hz=float(plan.rate_hz))
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r} cannot be exported: {error}") from None
    return Exportable(bundle, numbers, float(plan.window_s / 2), float(plan.window_s))


def _obstacle(bundle: Bundle, steps: Fraction) -> str:
    """Return why a model cannot be exported; "" where it can. `steps`: of a window."""
    if bundle.streams != (STREAM,):
        seen = ", ".join(bundle.streams)
        return (
            f"few lines without vmm cannot make what it sees of a video: {seen}. "
            f"What can: {WHAT_CAN}"
        )
    if bundle.network.get("head", DEFAULT_HEAD) != "classes":
        return f"its head is {bundle.network['head']!r}, and not one of labels"
    if WHOLE not in bundle.graphs:
        return "it has no graph of its network; train it again with this vmm-cli"
    if (steps / 2).denominator > 1:
        return (
            f"its windows overlap by {float(steps / 2):g} steps, not a whole number; train it with "
            "window_s x rate_hz even"
        )
    return ""


def vmm_s_own(model: Exportable) -> Run:
    """Return how vmm itself computes the probabilities. ModelError where the model is damaged."""
    from vmm_cli.features.catalogue import load_image_encoder
    from vmm_cli.features.image_encoder import encode

    trained = load_trained(model.bundle.folder, model.bundle.digest)
    encoder = load_image_encoder(model.bundle, "cpu")
    network = trained.windows
    assert network is not None  # its head says something of a window as a whole

    def run(windows: np.ndarray) -> np.ndarray:
        rows, steps = windows.shape[:2]
        features = encode(encoder, windows.reshape(-1, *windows.shape[2:]))
        there = np.ones((rows, steps), bool)
        logits = network({STREAM: features.reshape(rows, steps, -1)}, {STREAM: there}, there)
        return (sigmoid if trained.multi_label else softmax)(logits / trained.temperature)

    return run


def graph_of(model: Exportable) -> Any:
    """Return a model as an onnx.ModelProto that holds all its tensors.

    It takes windows, uint8 [N, T, H, W, 3], in which all steps are there.

    Raises:
        ModelError: it is damaged; else what onnx raises.
    """
    from onnx import TensorProto, helper

    bundle = model.bundle
    encoder, network = _parts(model)
    picture = model.numbers.shape[1:]
    tensors = [
        helper.make_tensor("of_pictures", TensorProto.INT64, [4], [-1, *picture]),
        helper.make_tensor("width", TensorProto.INT64, [1], [_width(bundle)]),
        *encoder.graph.initializer,
        *network.graph.initializer,
    ]
    takes = helper.make_tensor_value_info(PICTURES, TensorProto.UINT8, ["N", "T", *picture])
    gives = helper.make_tensor_value_info(
        PROBABILITIES, TensorProto.FLOAT, ["N", len(bundle.labels)]
    )
    temperature = temperature_of(bundle)
    if temperature != 1:
        tensors.append(helper.make_tensor(TEMPERATURE, TensorProto.FLOAT, [1], [temperature]))
    several = bool(bundle.network.get("multi_label"))
    nodes = _joined(encoder, network, several, cooled=temperature != 1)
    graph = helper.make_graph(nodes, bundle.name, [takes], [gives], tensors)
    return helper.make_model(
        graph, opset_imports=list(encoder.opset_import), ir_version=encoder.ir_version
    )


def _width(bundle: Bundle) -> int:
    inputs, _ = ports_of(bundle.network, WHOLE)
    width = inputs[f"values.{STREAM}"].shape[-1]
    assert width is not None
    return width


def _parts(model: Exportable) -> tuple[Any, Any]:
    """Return the graphs of encoder and network; their names begin with `encoder.`, `network.`."""
    from onnx import compose

    bundle = model.bundle
    inputs, outputs = ports_of(bundle.network, WHOLE)
    data = bundles.read_graph(bundle, WHOLE)
    network = taken_in(bundle, data, bundles.load_weights(bundle), inputs, outputs)
    spec = bundle.encoders[STREAM]
    carrier, held = carrier_of(bundle, entry_of(STREAM, spec.name).weights, spec)
    picture = replace(model.numbers, frames=1, rate_hz=0.0)
    encoder = encoder_graph(carrier, held, picture, _width(bundle))
    if network.opset_import[0].version != encoder.opset_import[0].version:
        raise ModelError(
            f"model {bundle.name!r} cannot be exported: its graphs are of two opsets; train it "
            "again with this vmm-cli"
        )
    return compose.add_prefix(encoder, "encoder."), compose.add_prefix(network, "network.")


def _joined(encoder: Any, network: Any, multi_label: bool, *, cooled: bool) -> list[Any]:
    """Return the nodes of both, and those that make rows of pictures of windows, and back.

    cooled: whether the logits are divided by a temperature.
    """
    from onnx import TensorProto, helper

    make = helper.make_node
    there = helper.make_tensor("there", TensorProto.BOOL, [1], [True])
    masks = [
        make("ConstantOfShape", ["sizes"], [f"network.{name}"], name, value=there)
        for name in (f"mask.{STREAM}", "grid")
    ]
    values = f"network.values.{STREAM}"
    (outputs,) = network.graph.output
    logits = "cooled" if cooled else outputs.name
    return [
        make("Reshape", [PICTURES, "of_pictures"], [f"encoder.{PICTURES}"], "flat"),
        *encoder.graph.node,
        make("Shape", [PICTURES], ["sizes"], "sizes", start=0, end=2),
        make("Concat", ["sizes", "width"], ["of_windows"], "of_windows", axis=0),
        make("Reshape", [f"encoder.{FEATURES}", "of_windows"], [values], "steps"),
        *masks,
        *network.graph.node,
        *([make("Div", [outputs.name, TEMPERATURE], [logits], "cool")] if cooled else []),
        make("Sigmoid" if multi_label else "Softmax", [logits], [PROBABILITIES], "chances"),
    ]
