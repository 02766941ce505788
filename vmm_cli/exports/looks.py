"""Models that look at single pictures or at clips, as one graph: encoder, linear head, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.exports.network import PROBABILITIES, Exportable, Run, encoder_graph
from vmm_cli.features.image_stream import FEATURES, STREAM
from vmm_cli.features.preprocess import Preprocess


def exportable(bundle: Bundle) -> Exportable:
    """Return a model as what is exported. ModelError where its image encoder is unusable."""
    try:
        numbers = Preprocess.from_dict(bundle.encoders[STREAM].preprocess)
    except ValueError as error:
        raise ModelError(f"model {bundle.name!r}: its image encoder is unusable: {error}") from None
    return Exportable(bundle, numbers, bundle.sampling.every_s)


def vmm_s_own(model: Exportable) -> Run:
    """Return how vmm itself computes the probabilities.

    Raises:
        ModelError: the model is damaged.
    """
    from vmm_cli.features.catalogue import load_image_encoder
    from vmm_cli.features.image_encoder import encode

    encoder = load_image_encoder(model.bundle, "cpu")
    weight, bias = head_of(model.bundle, bundles.load_tensors(model.bundle, "head."))

    def run(pictures: np.ndarray) -> np.ndarray:
        logits = encode(encoder, pictures) @ weight.T + bias  # [N, L]
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponent / exponent.sum(axis=1, keepdims=True)
        return probabilities

    return run


def head_of(bundle: Bundle, tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return weight, float32 [L, D], and bias, float32 [L], of a linear head.

    Raises:
        ModelError: they are not there, or not of these labels.
    """
    weight, bias = tensors.get("weight"), tensors.get("bias")
    labels = len(bundle.labels)
    if weight is None or weight.ndim != 2 or len(weight) != labels:
        raise ModelError(f"model {bundle.name!r} has no head for its {labels} labels")
    if bias is None or bias.shape != (labels,):
        raise ModelError(f"model {bundle.name!r} has no biases for its {labels} labels")
    return weight.astype(np.float32), bias.astype(np.float32)


def graph_of(model: Exportable) -> Any:
    """Return a model as an onnx.ModelProto that holds all its tensors.

    Raises:
        ModelError: it is damaged; else what onnx raises.
    """
    from onnx import TensorProto, helper, numpy_helper

    bundle = model.bundle
    weights = bundles.load_weights(bundle)
    weight, bias = head_of(bundle, weights.tensors("head."))
    graph = encoder_graph(bundle, weights, model.numbers, weight.shape[1])
    for name, value in {"weight": weight, "bias": bias}.items():
        graph.graph.initializer.append(numpy_helper.from_array(value, f"head.{name}"))
    graph.graph.node.extend(
        [
            helper.make_node(
                "Gemm", [FEATURES, "head.weight", "head.bias"], ["logits"], "head", transB=1
            ),
            helper.make_node("Softmax", ["logits"], [PROBABILITIES], "softmax", axis=1),
        ]
    )
    graph.graph.ClearField("output")
    graph.graph.output.append(
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["N", len(bundle.labels)])
    )
    return graph
