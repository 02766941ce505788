"""The experts of sentiment, and how they are joined."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmm_cli import bundles
from vmm_cli.analysis.sentiment.evidence import EXPERTS
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.plain_yaml import YamlError
from vmm_cli.plain_yaml import load as load_yaml

FUSION_SCHEMA = "vmm.fusion/1"
FUSION_FILE = "fusion.yaml"
MAX_FUSION_BYTES = 2**16
FAMILY = "sentiment"
LONGEST_KERNEL_S = 3600.0


@dataclass(frozen=True)
class Fusion:
    """How the experts are joined: what `fusion.yaml` says.

    Attributes:
        kernel_s: standard deviation of the smoothing over time, at least half a step of the curve.
        reliability: by expert, what its confidence is multiplied by.
        digest: SHA-256 of the file, hex.
    """

    kernel_s: float
    reliability: Mapping[str, float]
    digest: str


def expert(name: str) -> Bundle:
    """Return the model of an expert. ModelError where it is missing or something else."""
    bundle = bundles.load(f"{FAMILY}/{name}")
    if bundle.task != "valence" or bundle.streams != (name,):
        raise ModelError(f"model {bundle.name!r}, at {bundle.folder}, is no expert for {name}")
    return bundle


def fusion_file() -> Path:
    """Return the first there is where bundles are looked for: an expert of one's own needs none."""
    files = [folder / FAMILY / FUSION_FILE for folder in bundles.search_folders()]
    return next((file for file in files if os.path.lexists(file)), files[-1])


def read_fusion(path: Path) -> Fusion:
    """Read how the experts are joined.

    Raises:
        ModelError: the file is missing or says nothing usable.
    """
    try:
        data = read_regular(path, MAX_FUSION_BYTES)
        fields = load_yaml(data).value
    except UnreadableError as error:
        raise ModelError(f"{path}: {error}") from None
    except YamlError as error:
        raise ModelError(f"{path}: is not readable as YAML: {error}") from None
    if not isinstance(fields, dict) or fields.get("schema") != FUSION_SCHEMA:
        raise ModelError(f"{path}: its schema is not {FUSION_SCHEMA}")
    kernel_s, reliability = fields.get("kernel_s"), fields.get("reliability")
    if not _is_share(kernel_s, most=LONGEST_KERNEL_S) or not kernel_s:
        raise ModelError(f"{path}: kernel_s {kernel_s!r} is not a number of seconds")
    if (
        not isinstance(reliability, dict)
        or set(reliability) != set(EXPERTS)
        or not all(_is_share(value) for value in reliability.values())
    ):
        raise ModelError(f"{path}: reliability does not give {', '.join(EXPERTS)} from 0 to 1 each")
    return Fusion(float(kernel_s), reliability, hashlib.sha256(data).hexdigest())


def _is_share(value: object, most: float = 1.0) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= most
