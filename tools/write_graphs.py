"""Add to bundles, or write anew, the graphs that run without PyTorch: see docs/models.md.

    python tools/write_graphs.py models/imagenet ...

Weights and all else stay as they are; so do the digests that records and kept features go by.
Prints the files and their sizes. Each graph was tried: it gives what the network gives.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.saving import Graph
from vmm_cli.engines.export import graph_bytes
from vmm_cli.features.image import graph_of_bundle


def graphs_of(bundle: Bundle) -> dict[str, Graph]:
    """Return what makes each graph of a bundle."""
    graphs: dict[str, Graph] = {}
    if bundle.encoders.get("image") is not None:
        network = graph_of_bundle(bundle)
        if network is not None:
            graphs["image"] = partial(graph_bytes, network)
    return graphs


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        bundle = bundles.add_graphs(bundles.read(folder), graphs_of(bundles.read(folder)))
        for role, spec in bundle.graphs.items():
            file = bundle.folder / spec.file
            print(f"{file}: {role}, {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
