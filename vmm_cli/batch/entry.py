"""One input on its way through a run, and the parts it is split into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Record
from vmm_cli.batch.work import PREPARE_LIMIT_S, Part, Prepared, Result
from vmm_cli.identity import FileIdentity
from vmm_cli.media.damage import joined, joined_text
from vmm_cli.progress import Stand


@dataclass(slots=True, eq=False)
class Entry(Generic[Result]):
    """One input on its way."""

    input: Input
    memory_bytes: int | None
    identity: FileIdentity | None = None
    limit_s: float = PREPARE_LIMIT_S
    results: dict[int, Result] = field(default_factory=dict)  # by the order of its parts
    shares: dict[int, float] = field(default_factory=dict)  # how far each part is
    unfinished: int = 0  # parts without a result
    duration_s: float | None = None
    about: Record = field(default_factory=dict)  # what its record says whatever the command
    warnings: tuple[str, ...] = ()
    known: bytes = b""  # what workers know of the file; see `informed`
    gaps: tuple[tuple[float, float], ...] = ()  # of its pictures, in seconds
    span: tuple[float, float] | None = None  # the seconds that its parts say they go over
    ended: bool = False  # its record is written

    @property
    def share(self) -> float:
        """How far it is, from 0 to 1."""
        parts = max(len(self.shares), 1)
        return min(sum(self.shares.values()) / parts, 1.0)

    @property
    def length_s(self) -> float | None:
        """How long the part of the video is that is gone over, in seconds, if that is known."""
        return self.duration_s if self.span is None else self.span[1] - self.span[0]

    def take(self, prepared: Prepared[Part]) -> list[PartOf[Part, Result]]:
        """Take what there is to know before the work; return the parts to do, perhaps none."""
        self.identity, self.limit_s = prepared.identity, prepared.limit_s
        self.memory_bytes, self.duration_s = prepared.memory_bytes, prepared.duration_s
        self.about, self.warnings = prepared.about, prepared.warnings
        self.known = prepared.known
        parts = [PartOf(self, i, content) for i, content in enumerate(prepared.parts)]
        self.unfinished = len(parts)
        self.shares = dict.fromkeys((part.order for part in parts), 0.0)
        return parts

    def record(self, fields: Record) -> Record:
        """Return what its record says: the command's fields, and those of the file itself."""
        record = {**fields, **self.about}
        warnings = [*self.warnings, *fields.get("warnings", ())]
        if gaps := joined(self.gaps):
            record["undecoded_s"] = [[round(time_s, 3) for time_s in gap] for gap in gaps]
            warnings.append(joined_text(gaps))
        if warnings:
            record["warnings"] = warnings
        return record

    def hear(self, order: int, stand: Stand) -> None:
        """Take how far a part is."""
        self.shares[order] = max(self.shares.get(order, 0.0), stand.share)
        if stand.first_s < stand.last_s:
            first_s, last_s = self.span or (stand.first_s, stand.last_s)
            self.span = min(first_s, stand.first_s), max(last_s, stand.last_s)


@dataclass(frozen=True, slots=True)
class PartOf(Generic[Part, Result]):
    """A part of an input; `order` is its place among the others."""

    entry: Entry[Result]
    order: int
    content: Part | None


WHOLE = 0  # the order of what is not split
