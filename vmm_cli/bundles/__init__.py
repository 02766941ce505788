"""Models as folders: find, read, verify and save them. No torch is needed here."""

from __future__ import annotations

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    WEIGHTS_FILE,
    BrokenBundle,
    Bundle,
    EncoderSpec,
    Json,
    SamplingSpec,
    encoder_digest,
    is_name,
)
from vmm_cli.bundles.bundle_file import read
from vmm_cli.bundles.saving import save
from vmm_cli.bundles.search import (
    find,
    list_bundles,
    load,
    packaged_models,
    search_folders,
    user_models,
)
from vmm_cli.bundles.weights import load_tensors, verify

__all__ = [
    "BUNDLE_FILE",
    "WEIGHTS_FILE",
    "BrokenBundle",
    "Bundle",
    "EncoderSpec",
    "Json",
    "SamplingSpec",
    "encoder_digest",
    "find",
    "is_name",
    "list_bundles",
    "load",
    "load_tensors",
    "packaged_models",
    "read",
    "save",
    "search_folders",
    "user_models",
    "verify",
]
