"""Where models are published: a module of this room for each such place, and a row here.

Which models a place has are rows of `bundles/published.py`, where they can be looked up without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from vmm_cli.bundles import Bundle
from vmm_cli.fetching import torchvision
from vmm_cli.fetching.published_file import PublishedFile


class Source(Protocol):
    """A place where models are published, as files that a bundle can be made of."""

    def names(self) -> Collection[str]:
        """Return the models that can be fetched."""

    def file_of(self, name: str) -> PublishedFile:
        """Return which file a model's weights are published in."""

    def digest_in(self, file_name: str) -> str | None:
        """Return how a file's SHA-256 begins, hex, if its name carries that."""

    def make_bundle(self, name: str, file: Path, about: Mapping[str, str], folder: Path) -> None:
        """Make of a model's file, which was checked, a bundle in `folder`, which is not there yet.

        about: what the bundle says of its source: `file`, `sha256`, and `url` where there was one.

        Raises:
            ModelError: the file holds something else.
            OutputError, OSError: the folder cannot be written.
        """

    def runs_as_graph(self, name: str) -> bool:
        """Tell whether a model is to have graphs; without, PyTorch runs it."""

    def with_graphs(self, bundle: Bundle) -> Bundle:
        """Write the graphs of a bundle that `make_bundle` made, and return it with them.

        Raises:
            ModelError: it cannot be written as graphs; it is as it was.
            OutputError, OSError: its folder cannot be written.
        """


SOURCES: tuple[Source, ...] = (torchvision,)


def fetchable() -> dict[str, Source]:
    """Return the models that can be fetched, and from where."""
    return {name: source for source in SOURCES for name in source.names()}
