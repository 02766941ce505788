"""The records of one run: what an earlier run has done already, what comes now, and how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.journal import Journal
from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many inputs are done (`resumed` of them by an earlier run) and how many failed."""

    done: int
    resumed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Owned:
    """What each input has of the output for itself, as a folder of frames.

    Attributes:
        what: it holds, in a word.
        place: says of a record where that is, as `Input.output_name` does; None: nowhere.
    """

    what: str
    place: Callable[[Record], str | None]


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of an input before the file itself was looked at.

    Attributes:
        done: the file that an earlier run has done, with the same options; None: none.
        holder: another input whose results stand where this one's would go.
        holder_is: the file that was.
    """

    done: FileIdentity | None = None
    holder: str | None = None
    holder_is: FileIdentity | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """What a run's records are called, what they depend on, and where they are kept.

    Attributes:
        marks: what records depend on besides their files, each a `journal.fingerprint`: that of
            this run, then those that earlier versions gave to the same work.
        output: whose journal they go to; None: they are kept nowhere.
        resume: whether a record of an earlier run counts.
    """

    schema: str
    marks: tuple[str, ...]
    output: Path | None = None
    resume: bool = True


@dataclass(slots=True)
class Ledger:
    """Writes each input's record to the journal, if there is one, and then hands it on.

    owned: what each input has of the output for itself; check: raises where the journal is not
    this run's any more.
    """

    records: Records
    journal: Journal | None
    owned: Owned | None
    on_record: Callable[[Record], None]
    check: Callable[[], None] = lambda: None
    done: int = 0
    resumed: int = 0
    failed: int = 0

    def summary(self) -> Summary:
        """Return the counts."""
        return Summary(self.done, self.resumed, self.failed)

    def known(self, input: Input) -> Known:
        """Return what there is to compare an input with.

        Raises:
            OutputError: the journal cannot be read.
        """
        if self.journal is None:
            return Known()
        done = None
        if self.records.resume:
            done = self.journal.done(input.name, *self.records.marks)
        holder = None if self.owned is None else self.journal.holder(input.output_name)
        if holder is None or holder[0] == input.name:
            return Known(done)
        return Known(done, *holder)

    def take_up(self, name: str) -> None:
        """Hand on the record of an input that an earlier run has done."""
        record = None if self.journal is None else self.journal.last(name)
        if record is None:  # somebody cut the journal meanwhile
            return self.fail(name, None, InputError("output", "its record is gone; run again"))
        self.resumed += 1
        self.done += 1
        self.on_record(record)
        return None

    def finish(self, name: str, identity: FileIdentity | None, fields: Record) -> None:
        """Note that an input is done; `fields` are the record's own."""
        self.done += 1
        self._put(name, identity, {"input": name, "status": "ok"} | fields)

    def fail(self, name: str, identity: FileIdentity | None, error: InputError) -> None:
        """Note an input's failure."""
        self.failed += 1
        said = {"code": error.code, "message": error.message}
        self._put(name, identity, {"input": name, "status": "failed", "error": said})

    def _put(self, name: str, identity: FileIdentity | None, fields: Record) -> None:
        record = {"schema": self.records.schema} | fields
        if self.journal is not None:
            self.check()
            self.journal.append(name, identity, self.records.marks[0], record)
        self.on_record(record)
