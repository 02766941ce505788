"""Add to bundles, or write anew, the graphs that run without PyTorch: see docs/models.md.

    python tools/write_graphs.py models/imagenet ...

Weights and all else stay as they are; so do the digests that records and kept features go by.
Prints the files and their sizes. Each graph was tried: it gives what the network gives.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.saving import Graph
from vmm_cli.engines.export import Network, graph_bytes
from vmm_cli.features import (
    face_networks,
    faces,
    object_networks,
    objects,
    poses,
    sound_networks,
    sounds,
    speech,
    speech_networks,
    text_network,
    text_valence,
)
from vmm_cli.features.catalogue import image_graph
from vmm_cli.inference.examples import Examples
from vmm_cli.inference.export import graphs_of as graphs_of_network
from vmm_cli.inference.in_torch import trained
from vmm_cli.inference.load import PREFIX

FUSION = "fusion"  # the kind of those that `vmm train` makes


def of_fusion(bundle: Bundle) -> dict[str, Network]:
    """Return what graphs are made of a model of `vmm train`."""
    about = bundle.network
    network = trained(about, bundles.load_tensors(bundle, PREFIX))
    return graphs_of_network(network, about, made_up(about))


def made_up(about: Mapping[str, Any]) -> Examples:
    """Return windows of random values for a network, as its description says.

    Where a network reads patches, whose sides it does not say, `vmm train` alone writes graphs.
    """
    draw = np.random.default_rng(0)
    steps = np.array([16, 11, 7])
    values: dict[str, list[np.ndarray]] = {}
    for shape in about["streams"]:
        if shape["kind"] == "patches":
            raise SystemExit(f"the stream {shape['name']} is of patches: see `made_up`")
        values[shape["name"]] = [
            draw.integers(0, shape["vocabulary"], n)
            if shape["kind"] == "tokens"
            else draw.normal(0, 1, (n, shape["width"])).astype(np.float32)
            for n in steps
        ]
    masks = {stream: [draw.random(n) > 0.2 for n in steps] for stream in values}
    return Examples(values, masks, steps, np.arange(3), np.ones(3, np.float32))


# Models that are several networks, or none of a stream's, by their kind.
OF_KIND = {
    faces.KIND: face_networks.graphs_of_bundle,
    objects.KIND: object_networks.objects_to_export,
    poses.KIND: object_networks.poses_to_export,
    speech.KIND: speech_networks.graphs_of_bundle,
    sounds.KIND: sound_networks.graphs_of_bundle,
    text_valence.KIND: text_network.graphs_of_bundle,
    FUSION: of_fusion,
}


def graphs_of(bundle: Bundle) -> dict[str, Graph]:
    """Return what makes each graph of a bundle."""
    graphs: dict[str, Graph] = {}
    if bundle.encoders.get("image") is not None:
        network = image_graph(bundle)
        if network is not None:
            graphs["image"] = partial(graph_bytes, network)
    if (networks_of := OF_KIND.get(bundle.network.get("kind", ""))) is not None:
        for role, network in networks_of(bundle).items():
            graphs[role] = partial(graph_bytes, network)
    return graphs


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        bundle = bundles.add_graphs(bundles.read(folder), graphs_of(bundles.read(folder)))
        for role, spec in bundle.graphs.items():
            file = bundle.folder / spec.file
            print(f"{file}: {role}, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
