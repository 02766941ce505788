"""The records of one run: what an earlier run has done already, what comes now, and how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.journal import Journal
from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity, file_identity

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many inputs are done (`resumed` of them by an earlier run) and how many failed."""

    done: int
    resumed: int
    failed: int


@dataclass(slots=True)
class Ledger:
    """Writes each input's record to the journal, if there is one, and then hands it on.

    mark: what a record depends on besides its file (`journal.fingerprint`); resume: whether a
    record of an earlier run counts; kept: tells whether the files that an earlier run wrote for an
    input are still there, None for work that writes none.
    """

    schema: str
    mark: str
    journal: Journal | None
    resume: bool
    kept: Callable[[Input], bool] | None
    total: int
    on_record: Callable[[Record], None]
    on_progress: Callable[[int, int], None]
    done: int = 0
    resumed: int = 0
    failed: int = 0
    _holders: dict[str, str] | None = field(default=None, init=False)

    def summary(self) -> Summary:
        """Return the counts."""
        return Summary(self.done, self.resumed, self.failed)

    def take_up(self, input: Input) -> bool:
        """Hand on the record of an input that an earlier run has done; tell whether there is one.

        Raises:
            InputError: the input cannot be looked at, or `collision`: its folder in the output
                has the frames of another file.
            OutputError: the journal cannot be read.
        """
        if self.journal is None:
            return False
        self._refuse_taken_folder(self.journal, input)
        if not self.resume:
            return False
        record = self.journal.done(input.name, file_identity(input.path), self.mark)
        if record is None or (self.kept is not None and not self.kept(input)):
            return False
        self.resumed += 1
        self._count(ok=True)
        self.on_record(record)
        return True

    def finish(self, name: str, identity: FileIdentity | None, fields: Record) -> None:
        """Note that an input is done; `fields` are the record's own."""
        self._count(ok=True)
        self._put(name, identity, {"schema": self.schema, "input": name, "status": "ok"} | fields)

    def fail(self, name: str, identity: FileIdentity | None, error: InputError) -> None:
        """Note an input's failure."""
        self._count(ok=False)
        self._put(
            name,
            identity,
            {
                "schema": self.schema,
                "input": name,
                "status": "failed",
                "error": {"code": error.code, "message": error.message},
            },
        )

    def _refuse_taken_folder(self, journal: Journal, input: Input) -> None:
        """Raise InputError where an earlier run gave the input's folder to another file."""
        if self.kept is None:
            return
        if self._holders is None:
            self._holders = _folder_holders(journal)
        holder = self._holders.get(input.output_name, input.name)
        if holder == input.name or journal.is_of(holder, file_identity(input.path)):
            return
        raise InputError(
            "collision",
            f"the output has frames of {holder} under the same name, {input.output_name}; "
            "choose another -o",
        )

    def _put(self, name: str, identity: FileIdentity | None, record: Record) -> None:
        if self.journal is not None:
            self.journal.append(name, identity, self.mark, record)
        self.on_record(record)

    def _count(self, *, ok: bool) -> None:
        if ok:
            self.done += 1
        else:
            self.failed += 1
        self.on_progress(self.done + self.failed, self.total)


def _folder_holders(journal: Journal) -> dict[str, str]:
    """Return which input each output folder is of, by what an earlier run recorded."""
    records = ((name, journal.last(name)) for name in journal.names())
    return {
        record["folder"]: name
        for name, record in records
        if record is not None and record.get("status") == "ok" and "folder" in record
    }
