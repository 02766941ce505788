"""What a bundled model keeps of the run that trained it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vmm_cli import bundles


@dataclass(frozen=True)
class Kept:
    """What was kept: the run's metrics, what the network is made of, and the weights' digest."""

    metrics: dict[str, Any]
    network: dict[str, Any]
    weights_digest: str


def keep(
    run: Path,
    out: Path,
    *,
    summary: str,
    demonstration: str,
    licence: Mapping[str, str],
    files: Sequence[str],
) -> Kept:
    """Save a run's model as a bundle in `out`, and copy some of its files there.

    `summary` and `licence` take the place of what `vmm train` wrote; `demonstration` says why the
    model is one.
    """
    metrics = json.loads((run / "metrics.json").read_text())
    metrics.pop("asked")  # what a training that goes on must share with this one
    trained = bundles.load(str(run))
    fields = yaml.safe_load((run / bundles.BUNDLE_FILE).read_text())
    for added in ("schema", "weights"):
        fields.pop(added)
    first = {key: fields.pop(key) for key in ("name", "version", "summary")}
    first |= {"summary": summary, "demonstration": demonstration}
    fields = first | fields | {"licence": dict(licence)}
    saved = bundles.save(out, fields, bundles.load_tensors(trained, ""))
    for name in files:
        shutil.copyfile(run / name, out / name)
    return Kept(metrics, fields["network"], saved.weights_digest)


def write_about(out: Path, metrics: Mapping[str, Any], card: str) -> None:
    """Write the metrics and the card that the bundle in `out` comes with."""
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    (out / "CARD.md").write_text(card)
