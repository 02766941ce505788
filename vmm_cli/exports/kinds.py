"""What models can be exported, and as what: a row for each kind."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError, UsageError
from vmm_cli.exports import looks, windows
from vmm_cli.exports.network import WHAT_CAN, Exportable, Run, refusing, simplified
from vmm_cli.features.image_stream import STREAM
from vmm_cli.inference.classify_request import hears_sounds, joins_networks, sees_windows


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of models.

    Attributes:
        fits: whether a bundle is one.
        exportable: makes of a bundle what is exported; ModelError where that cannot be.
        vmm_s_own: how vmm itself computes the probabilities.
        graph_of: the model as an onnx.ModelProto that holds all its tensors.
    """

    fits: Callable[[Bundle], bool]
    exportable: Callable[[Bundle], Exportable]
    vmm_s_own: Callable[[Exportable], Run]
    graph_of: Callable[[Exportable], Any]


def _looks(bundle: Bundle) -> bool:
    pools = bundle.network.get("pool") == "mean-probability"
    return bundle.task == "classes" and pools and STREAM in bundle.encoders


KINDS = (
    Kind(_looks, looks.exportable, looks.vmm_s_own, looks.graph_of),
    Kind(sees_windows, windows.exportable, windows.vmm_s_own, windows.graph_of),
)


def exportable(bundle: Bundle) -> Exportable:
    """Return a model as what is exported.

    Raises:
        ModelError: it cannot be.
    """
    kind = _kind(bundle)
    if any(len(label.splitlines()) > 1 for label in bundle.labels):
        raise ModelError(f"model {bundle.name!r} cannot be exported: a label has a line break")
    return kind.exportable(bundle)


def vmm_s_own(model: Exportable) -> Run:
    """Return how vmm itself computes the probabilities. ModelError where the model is damaged."""
    return _kind(model.bundle).vmm_s_own(model)


def whole_graph(model: Exportable) -> Any:
    """Return a model as an onnx.ModelProto in float32 that holds all its tensors.

    Its normalisations are part of its convolutions, as far as ONNX Runtime makes them so.

    Raises:
        ModelError: it is damaged, or its network cannot be written so.
        UsageError: a package that this needs is missing.
        OutputError: the folder for temporary files cannot be written.
    """
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise UsageError(f"{error}; run: pip install onnx") from None
    with refusing(model.bundle, "its network cannot be written as one graph"):
        return simplified(_kind(model.bundle).graph_of(model))


def _kind(bundle: Bundle) -> Kind:
    for kind in KINDS:
        if kind.fits(bundle):
            return kind
    why = f"is for {bundle.task}"
    if joins_networks(bundle):
        why = "joins networks"
    elif hears_sounds(bundle):
        why = "hears sounds"
    raise ModelError(f"model {bundle.name!r} cannot be exported: it {why}. What can: {WHAT_CAN}")
