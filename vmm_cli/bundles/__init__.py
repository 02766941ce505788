"""Models as folders: find, read, verify and save them. No torch is needed here."""

from __future__ import annotations

from vmm_cli.bundles.bundle import (
    BUNDLE_FILE,
    WEIGHTS_FILE,
    BrokenBundle,
    Bundle,
    EncoderSpec,
    SamplingSpec,
    encoder_digest,
    find,
    is_name,
    list_bundles,
    load,
    load_tensors,
    packaged_models,
    read,
    save,
    search_folders,
    user_models,
    verify,
)

__all__ = [
    "BUNDLE_FILE",
    "WEIGHTS_FILE",
    "BrokenBundle",
    "Bundle",
    "EncoderSpec",
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
