"""What a bundle is: a folder, and what its `bundle.yaml` says.

The folder holds `bundle.yaml` (what the model is, its labels, its preprocessing, the digests),
`weights.safetensors`, `CARD.md`, `recipe.yaml`, `metrics.json`, and perhaps graphs, `graph.onnx`:
its networks as ONNX, whose tensors are those of `weights.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vmm_cli.bundles.operating import Operating

if TYPE_CHECKING:
    import numpy as np

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

SCHEMA_NAME = "vmm.bundle"
SCHEMA_VERSION = 1
BUNDLE_FILE = "bundle.yaml"
WEIGHTS_FILE = "weights.safetensors"
GRAPH_FILE = "graph.onnx"

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(rf"(?:{FOLDER_NAME.pattern}/)?{FOLDER_NAME.pattern}")


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder a stream of the model uses.

    Attributes:
        name: as in the encoder catalogue.
        digest: of its weights and preprocessing, see `encoder_digest`; hex.
        preprocess: its settings, such as the numbers that its pictures or sound are prepared with.
    """

    name: str
    digest: str
    preprocess: Mapping[str, Json]


@dataclass(frozen=True)
class SamplingSpec:
    """Which pictures the model wants.

    Attributes:
        every_s: one picture each so many seconds.
        free: whether the user may ask for another sampling.
    """

    every_s: float
    free: bool


@dataclass(frozen=True)
class GraphSpec:
    """A network of the model as a graph, which runs without PyTorch.

    Attributes:
        file: its name in the bundle's folder.
        digest: SHA-256 of it, hex.
    """

    file: str
    digest: str


@dataclass(frozen=True, repr=False)
class Bundle:
    """What a bundle's `bundle.yaml` says.

    Attributes:
        folder: where the bundle lies.
        name: as it was saved; `list_bundles` gives the name that it is found by.
        digest: SHA-256 of `bundle.yaml`, hex; as that names the digests of weights and graphs, it
            stands for the whole model.
        journal_digest: the same of `bundle.yaml` as it is without graphs, which change no record:
            what was done with a model stays done when it gets a graph.
        weights_digest: SHA-256 of `weights.safetensors`, hex.
        task: one of `tasks.known`.
        encoders: by stream.
        source: where a fetched model's weights come from, and the digest of what was fetched.
        undrawn: labels that no picture is drawn of, whatever is drawn.
        demonstration: why the model is one, and nothing may hang on it; "" where it is none.
        operating: by label, recall against false alarms an hour; none where nobody measured that.
        none: the label of a video in which none of the others is; None: it has none.
        graphs: by what they are of, such as "image" for the encoder of pictures; none where the
            model was saved by an earlier vmm, or its network cannot be written as a graph.
    """

    folder: Path
    digest: str
    name: str
    version: int
    summary: str
    task: str
    labels: tuple[str, ...]
    streams: tuple[str, ...]
    encoders: Mapping[str, EncoderSpec]
    network: Mapping[str, Any]
    sampling: SamplingSpec
    thresholds: Mapping[str, float]
    licence: Mapping[str, str]
    weights_digest: str
    journal_digest: str = ""
    source: Mapping[str, str] = field(default_factory=dict)
    undrawn: tuple[str, ...] = ()
    demonstration: str = ""
    graphs: Mapping[str, GraphSpec] = field(default_factory=dict)
    operating: Mapping[str, Operating] = field(default_factory=dict)
    none: str | None = None

    def told_from(self, label: str, otherwise: float) -> float:
        """Return the score from which on a label is told, where nobody asks for another one.

        `otherwise`: where the bundle does not say.
        """
        curve = self.operating.get(label)
        if curve is not None and curve.threshold is not None:
            return curve.threshold
        return self.thresholds.get("score", otherwise)

    def __repr__(self) -> str:
        return f"Bundle({self.name!r} version {self.version}, {self.task}, at {self.folder})"


@dataclass(frozen=True)
class BrokenBundle:
    """A folder among the bundles that cannot be used, and why."""

    folder: Path
    problem: str
    name: str


def is_name(text: str) -> bool:
    """Tell whether a model can be called so: a word, or two with a '/' between them."""
    return _NAME.fullmatch(text) is not None


def encoder_digest(
    name: str, preprocess: Mapping[str, Json], tensors: Mapping[str, np.ndarray]
) -> str:
    """Return what stands for an encoder wherever its features are kept: SHA-256, hex.

    Over the name, the settings, and each tensor's name, dtype, shape and bytes, in the order of
    names. Labels and heads are not part of it: another head uses the same features. Numbers count
    as floats, however YAML wrote them.
    """
    whole = [name, _with_floats(preprocess)]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"\0{key}\0{tensor.dtype.str}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _with_floats(value: Json) -> Json:
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _with_floats(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_with_floats(inner) for inner in value]
    return value
