"""Models as folders: find, read, verify and save them. No torch is needed here."""

from __future__ import annotations

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    GRAPH_FILE,
    WEIGHTS_FILE,
    BrokenBundle,
    Bundle,
    EncoderSpec,
    GraphSpec,
    Json,
    SamplingSpec,
    encoder_digest,
    is_name,
)
from vmm_cli.bundles.bundle_file import read
from vmm_cli.bundles.operating import Operating, OperatingPoint
from vmm_cli.bundles.saving import add_graphs, save
from vmm_cli.bundles.search import (
    find,
    list_bundles,
    load,
    packaged_models,
    search_folders,
    user_models,
)
from vmm_cli.bundles.weights import Stored, Weights, load_tensors, load_weights, read_graph, verify

__all__ = [
    "BUNDLE_FILE",
    "GRAPH_FILE",
    "WEIGHTS_FILE",
    "BrokenBundle",
    "Bundle",
    "EncoderSpec",
    "GraphSpec",
    "Json",
    "Operating",
    "OperatingPoint",
    "SamplingSpec",
    "Stored",
    "Weights",
    "add_graphs",
    "encoder_digest",
    "find",
    "is_name",
    "list_bundles",
    "load",
    "load_tensors",
    "load_weights",
    "packaged_models",
    "read",
    "read_graph",
    "save",
    "search_folders",
    "user_models",
    "verify",
]
