"""A model as `vmm train --recipe frames` makes it, with fresh weights: windows of three seconds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.engines.export import graph_maker
from vmm_cli.features.plan import encoder_spec
from vmm_cli.inference.examples import Examples
from vmm_cli.inference.export import graphs_of
from vmm_cli.inference.in_torch import network_from

ENCODER, WIDTH = "efficientnet-lite0", 1280
LABELS = ("moving", "still", "bright")


def windows_model(folder: Path, *, multi_label: bool = False) -> Bundle:
    """Make one whose labels depend on the order of the pictures."""
    about: dict[str, Any] = {
        "kind": "fusion",
        "streams": [
            {
                "name": "image",
                "front_end": "identity-change",
                "kind": "features",
                "width": WIDTH,
                "channels": 1,
            }
        ],
        "temporal": "lstm",
        "fusion": "concat",
        "width": 8,
        "layers": 1,
        "dropout": 0.0,
        "outputs": len(LABELS),
        "multi_label": multi_label,
        "rate_hz": 2.0,
        "window_s": 3.0,
    }
    torch.manual_seed(1)
    network = network_from(about).eval()
    draw = np.random.default_rng(0)
    steps = np.array([6, 4])
    shown = Examples(
        {"image": [draw.normal(0, 1, (n, WIDTH)).astype(np.float32) for n in steps]},
        {"image": [np.ones(n, bool) for n in steps]},
        steps,
        np.arange(2),
        np.ones(2, np.float32),
    )
    spec = encoder_spec("image", ENCODER, Fraction(3))
    fields = {
        "name": folder.name,
        "version": 1,
        "summary": "fresh weights",
        "task": "classes",
        "streams": ["image"],
        "encoders": {
            "image": {"name": ENCODER, "sha256": spec.digest, "preprocess": dict(spec.preprocess)}
        },
        "network": about,
        "sampling": {"every_s": 0.5, "free": False},
        "thresholds": {},
        "licence": {"code": "Apache-2.0", "weights": "none", "data": "none"},
        "labels": list(LABELS),
    }
    tensors = {f"network.{k}": v.numpy() for k, v in network.state_dict().items()}
    makers = {k: graph_maker(one) for k, one in graphs_of(network, about, shown).items()}
    return bundles.save(folder, fields, tensors, makers)
