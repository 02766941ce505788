"""Write a network as a graph whose tensors stay in the bundle's `weights.safetensors`.

With PyTorch's exporter that goes by `torch.export`, or with the older one that goes by TorchScript.
That is deprecated, but a tenth to a hundredth as long: 0.3 to 2 s for a network that is written at
the end of each training, and not 6 to 40 s.
Only constants that are small are folded: what is computed of a stored tensor would be another one,
and the graph would have to carry it. The runtime folds normalisations into convolutions itself.

Needs the packages onnx and onnxscript.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmm_cli.bundles import WEIGHTS_FILE, Stored, Weights
from vmm_cli.engines import choice
from vmm_cli.engines.graph import Port, Ports, compiled
from vmm_cli.engines.graph_check import DATA_TYPES, OPSET

# What is folded or carried: biases of zeros, axes and shapes.
FOLDED_VALUES = 2048
CARRIED_BYTES = 64 * 2**10
# Of any output on the example, over PyTorch's: roundings of float32, whose steps are in another
# order.
TOLERANCE = 1e-3

# Of a tensor they read its type or its shape, and no value.
_OF_SHAPE_ALONE = ("CastLike", "Shape", "Size")

_log = logging.getLogger(__name__)


class ExportError(Exception):
    """A network cannot be written as a graph, or its graph gives something else."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network and how it is called, as a graph is made of it.

    Attributes:
        module: in evaluation mode; takes the inputs by position in their order.
        example: the inputs by name, of any length where that may vary, but not 0, nor 1 unless
            `traced`; half of it is tried, too.
        outputs: names of what the module gives: a tensor, or a tuple of them.
        dynamic: of an input, the axes whose length may vary.
        multiple: what such a length is a multiple of, but for the first axis's.
        stored: gives the name in the bundle's weights of a parameter or buffer of `module`.
        traced: whether to write it by TorchScript. Its forward must not choose by lengths, nor
            divide negative ones, which the tracing would not see.
    """

    module: nn.Module
    example: Mapping[str, Tensor]
    outputs: Sequence[str]
    dynamic: Mapping[str, Sequence[int]]
    stored: Callable[[str], str]
    traced: bool = False
    multiple: int = 1


def graph_maker(network: Network) -> Callable[[Weights], bytes | None]:
    """Return what `bundles.save` makes a graph with; where it cannot, a warning says why."""

    def make(weights: Weights) -> bytes | None:
        try:
            return graph_bytes(network, weights)
        except ExportError as error:
            _log.warning("saved without a graph, so that PyTorch must run it: %s", error)
            return None

    return make


def graph_bytes(network: Network, weights: Weights) -> bytes:
    """Return a network as a graph that reads its tensors out of `weights`; it was tried.

    Raises:
        ExportError: it cannot be written so, or gives something else than the network.
    """
    try:
        model = _traced(network) if network.traced else _exported(network, weights)
    except ModuleNotFoundError as error:
        raise ExportError(f"{error}; run: pip install onnx onnxscript") from None
    except Exception as error:  # what the exporter raises has no common type
        raise ExportError(" ".join(str(error).split())[:500]) from error
    _place(model, network, weights)
    data: bytes = model.SerializeToString(deterministic=True)
    if choice.runtime() is not None:
        _compare(network, data, weights)
    return data


def ports(model: Any) -> tuple[Ports, Ports]:
    """Return the inputs and outputs that a graph has."""
    from onnx import helper

    sides = []
    for values in (model.graph.input, model.graph.output):
        found = {}
        for value in values:
            kind = value.type.tensor_type
            shape = tuple(
                dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim
            )
            type = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
            found[value.name] = Port(shape, type)
        sides.append(found)
    return sides[0], sides[1]


def _exported(network: Network, weights: Weights) -> Any:
    """Return an onnx.ModelProto with all tensors in it, and nothing of where it was made."""
    import onnxscript.optimizer as optimizer

    _give_biases(network.module)

    def should_fold(node: Any) -> bool | None:
        """Leave alone what changes a stored tensor; None: go by the sizes."""
        if node.op_type in _OF_SHAPE_ALONE:
            return None
        names = [one.name for one in node.inputs if one is not None and one.is_initializer()]
        return False if any(network.stored(name) in weights.stored for name in names) else None

    shapes = tuple(
        {axis: _dimension(network, name, axis) for axis in network.dynamic.get(name, ())}
        for name in network.example
    )
    program = torch.onnx.export(
        network.module,
        tuple(network.example.values()),
        dynamo=True,
        optimize=False,
        opset_version=OPSET,
        input_names=list(network.example),
        output_names=list(network.outputs),
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    optimizer.fold_constants_ir(
        program.model,
        input_size_limit=FOLDED_VALUES,
        output_size_limit=FOLDED_VALUES,
        should_fold=should_fold,
    )
    optimizer.remove_unused_nodes(program.model)
    return _stripped(program.model_proto)


def _dimension(network: Network, name: str, axis: int) -> Any:
    """Return a length that may vary, as the exporter takes it."""
    if axis == 0 or network.multiple == 1:
        return torch.export.Dim.DYNAMIC
    return network.multiple * torch.export.Dim(f"{name}_{axis}")


def _traced(network: Network) -> Any:
    """Return the same of a network that is small, by TorchScript; nothing is folded."""
    import onnx

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is deprecated, and of lengths that may vary
        torch.onnx.export(
            network.module,
            tuple(network.example.values()),
            file,  # type: ignore[arg-type]  # it takes a file that is open, too
            dynamo=False,
            opset_version=OPSET,
            # In evaluation mode it would put normalisations into other tensors.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=list(network.example),
            output_names=list(network.outputs),
            dynamic_axes={name: list(axes) for name, axes in network.dynamic.items()},
        )
    return _stripped(onnx.load_model_from_string(file.getvalue()))


def _give_biases(module: nn.Module) -> None:
    """Give convolutions in three dimensions that have none a bias of zeros.

    The exporter makes one of a shape that ONNX Runtime refuses.
    """
    for one in module.modules():
        if isinstance(one, nn.Conv3d) and one.bias is None:
            one.bias = nn.Parameter(torch.zeros(one.out_channels), requires_grad=False)


def _stripped(model: Any) -> Any:
    """Leave out what says where and by whom a graph was made, which has paths in it."""
    graph = model.graph
    for one in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    for one in (model, graph):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")
    graph.ClearField("value_info")
    model.producer_name, model.producer_version = "vmm", ""
    return model


def _place(model: Any, network: Network, weights: Weights) -> None:
    """Have a graph's tensors lie where the weights have them. ExportError where they have not."""
    from onnx import helper, numpy_helper

    tensors = list(model.graph.initializer)
    nodes = list(model.graph.node)
    model.graph.ClearField("initializer")
    model.graph.ClearField("node")
    for tensor in tensors:
        name = network.stored(tensor.name)
        one = weights.stored.get(name)
        value = numpy_helper.to_array(tensor)
        if one is None:
            if value.nbytes > CARRIED_BYTES:
                raise ExportError(f"{tensor.name} is large, and {WEIGHTS_FILE} has no {name}")
            model.graph.initializer.append(tensor)
            continue
        if not np.array_equal(weights.tensor(name).astype(value.dtype), value):
            raise ExportError(f"{tensor.name} has other values than {name} of {WEIGHTS_FILE}")
        cast = DATA_TYPES[one.dtype] != tensor.data_type
        kept = f"{tensor.name}.stored" if cast else tensor.name
        model.graph.initializer.append(_external(kept, one))
        if cast:
            model.graph.node.append(
                helper.make_node("Cast", [kept], [tensor.name], to=tensor.data_type)
            )
    model.graph.node.extend(nodes)


def _external(name: str, one: Stored) -> Any:
    from onnx import TensorProto

    tensor = TensorProto(
        name=name,
        dims=one.shape,
        data_type=DATA_TYPES[one.dtype],
        data_location=TensorProto.EXTERNAL,
    )
    entries = {"location": WEIGHTS_FILE, "offset": one.offset, "length": one.length}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _compare(network: Network, data: bytes, weights: Weights) -> None:
    """Raise ExportError where the graph gives something else than the network.

    They are tried with the example, and with less of it: a graph that kept a length as a number
    gives the same for the example alone.
    """
    import onnx

    inputs, outputs = ports(onnx.load_model_from_string(data))
    lengths = [tuple(one.shape) for one in network.example.values()]
    try:
        run = compiled(data, weights, inputs=inputs, outputs=outputs)
        for shown in (list(network.example.values()), _less(network)):
            lengths = [tuple(one.shape) for one in shown]
            found = run(*(one.numpy() for one in shown))
            with torch.inference_mode():
                wanted = network.module(*shown)
            wanted = [wanted] if isinstance(wanted, Tensor) else wanted
            for name, ours, theirs in zip(network.outputs, found, wanted, strict=True):
                _refuse_apart(name, ours, theirs.numpy())
    except Exception as error:  # the runtime's errors have no common type
        said = " ".join(str(error).split())[:500]
        raise ExportError(f"for inputs of the shapes {lengths}: {said}") from error


def _less(network: Network) -> list[Tensor]:
    """Return the example with one row, and half of the steps, where these may vary."""
    shown = []
    for name, value in network.example.items():
        for axis in network.dynamic.get(name, ()):
            value = value.narrow(axis, 0, 1 if axis == 0 else (value.shape[axis] + 1) // 2)
        shown.append(value.contiguous())
    return shown


def _refuse_apart(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.shape != theirs.shape:
        raise ValueError(f"the graph's {name} is of the shape {ours.shape}, not {theirs.shape}")
    apart = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0.0))
    if not apart <= TOLERANCE:
        raise ValueError(f"the graph's {name} is {apart:g} off PyTorch's")
