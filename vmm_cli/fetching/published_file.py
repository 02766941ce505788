"""The file that holds a model's weights where it is published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """A file that is published.

    Attributes:
        url: where it is; its last part is the file's name.
        size_mib: rounded.
        digest: how its SHA-256 begins, hex.
    """

    url: str
    size_mib: int
    digest: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[-1]
