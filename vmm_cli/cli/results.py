"""The records of a run as they come: said, and written in the order of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from vmm_cli.batch.inputs import Discovery
from vmm_cli.cli import console
from vmm_cli.cli.destination import Writers, write_all
from vmm_cli.cli.ordering import InOrder
from vmm_cli.output.formats import Record, RecordWriter
from vmm_cli.output.rows import failure_text


class Results:
    """Takes records as they come: says which failed, and writes or keeps them.

    keep: whether all are kept for the end, as for a table. Otherwise `write`, where there is one,
    takes each; the journal has those that go to a file at the end.
    """

    def __init__(self, discovery: Discovery, *, keep: bool = False) -> None:
        self.order = discovery.order
        self.failed = 0
        self.write: Callable[[Record], None] | None = None
        self.streams = False
        self.aside: Callable[[], AbstractContextManager[None]] | None = None
        # Of names that no journal has, or of all.
        self._kept: dict[str, Record] = {}
        self._keep_also = None if keep else {*discovery.unreadable, *discovery.silent}
        self._ordered: InOrder | None = None
        self._writer: RecordWriter | None = None
        self._needed = True
        self._advised: set[str] = set()

    def stream(self, writer: RecordWriter, *, needed: bool) -> None:
        """Write each record to stdout when its turn has come.

        needed: whether they go nowhere else, so that there is no use in working for a reader that
        is gone.
        """
        self.streams = True
        self._writer, self._needed = writer, needed
        self._ordered = InOrder(self.order, self._print)
        self.write = self._ordered.take

    def take(self, record: Record) -> None:
        """Take one record."""
        if record["status"] == "failed":
            self.failed += 1
            console.failure(f"{record['input']}: {failure_text(record)}")
        else:
            console.info(f"{record['input']}: {record['status']}")
            for message in record.get("warnings", ()):
                console.warning(f"{record['input']}: {message}")
        self._advise(record)
        if self.write is not None:
            self.write(record)
        elif self._keep_also is None or record["input"] in self._keep_also:
            self._kept[record["input"]] = record

    def release(self) -> None:
        """Write what has waited long enough for those before it."""
        if self._ordered is not None:
            self._ordered.release()

    def in_order(self, record_of: Callable[[str], Record | None]) -> Iterator[Record]:
        """Yield the records in the order of the inputs, whichever was done first."""
        for name in self.order:
            record = self._kept.get(name) or record_of(name)
            if record is not None:
                yield record

    def _advise(self, record: Record) -> None:
        """Say once what the installation lacks, of all records of a run."""
        for message in record.get("advice", ()):
            if message not in self._advised:
                self._advised.add(message)
                console.warning(message)

    def end(self, writers: Writers, name: str) -> None:
        """Write what must come last; for a table that is all of it."""
        if self._ordered is not None:
            self._ordered.flush()
        if self._writer is not None:
            with self._while_read():
                self._writer.close()
        elif self.write is None:
            write_all(writers.to_stdout(name), self.in_order(self._kept.get))

    def _print(self, record: Record) -> None:
        if self._writer is not None:
            with self._while_read(), self.aside() if self.aside is not None else nullcontext():
                self._writer.write(record)

    @contextmanager
    def _while_read(self) -> Iterator[None]:
        try:
            yield
        except console.StdoutClosed:
            if self._needed:
                raise
            self._writer = None  # what the work is for goes on
