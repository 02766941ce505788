"""torchvision as a source of models: its files carry their digest in their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published import FETCHABLE, PUBLISHED_AT
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.fetching.published_file import PublishedFile

_DIGEST_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth")


def names() -> Collection[str]:
    """Return the models that can be fetched."""
    return FETCHABLE.keys()


def file_of(name: str) -> PublishedFile:
    """Return the file that torchvision publishes a model's weights in."""
    model = FETCHABLE[name]
    digest = digest_in(model.file)
    assert digest is not None, model.file
    return PublishedFile(f"{PUBLISHED_AT}/{model.file}", model.download_mib, digest)


def digest_in(file_name: str) -> str | None:
    """Return how a file's SHA-256 begins, hex, if its name carries that."""
    found = _DIGEST_IN_NAME.search(file_name)
    return None if found is None else found[1]


def make_bundle(name: str, file: Path, about: Mapping[str, str], folder: Path) -> None:
    """Convert the file of a model to a bundle in `folder`; see `torchvision_bundle.make_bundle`."""
    from vmm_cli.features import coco_bundle, torchvision_bundle  # torch: seconds

    module = coco_bundle if name in COCO else torchvision_bundle
    module.make_bundle(name, file, about, folder)


def runs_as_graph(name: str) -> bool:
    """Tell whether a model is to have a graph."""
    return FETCHABLE[name].as_graph


def with_graphs(bundle: Bundle) -> Bundle:
    """Write the graph of a bundle, and return it with that; see `torchvision_bundle.with_graph`."""
    from vmm_cli.features import coco_bundle, torchvision_bundle  # torch: seconds

    is_coco = str(bundle.network.get("kind")) in COCO
    if is_coco:
        return coco_bundle.with_graph(bundle)
    return torchvision_bundle.with_graph(bundle)
