"""How the records of `vmm classify` are shown: as a table and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Times, Value, span


def values(record: Record, *, sources: bool = False) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each label, of each window where there are some."""
    for start_s, end_s, labels in _spans(record):
        for rank, label in enumerate(labels, start=1):
            times = " ".join(str(time_s) for time_s in label["times"])
            source = (label["source"],) if sources else ()
            yield rank, label["label"], label["score"], *source, times, start_s, end_s


def cells(record: Record, *, timeline: bool) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each label; the window stands in the first one only."""
    for start_s, end_s, labels in _spans(record):
        time: Cell = span(start_s, end_s)
        shown: list[tuple[Cell, ...]] = [
            (_named(label), f"{label['score']:.3f}", Times(_listed(label["times"])))
            for label in labels
        ]
        for row in shown or [("(nothing recognised)", "", "")]:
            yield (time, *row) if timeline else row
            time = ""
    for moment in record.get("worst", ()):
        worst = (f"  {moment['label']} then", f"{moment['score']:.3f}", Times((moment["time_s"],)))
        yield ("", *worst) if timeline else worst
    if "explain" in record:
        for row in _explained(record["explain"]):
            yield ("", *row) if timeline else row


def _named(label: Mapping[str, Any]) -> str:
    """Return a label, and that it is heard where it is."""
    return f"{label['label']} (heard)" if label.get("source") == "heard" else label["label"]


def _listed(times_s: Sequence[float]) -> tuple[str | float, ...]:
    """Return times with commas between them."""
    return tuple(part for time_s in times_s for part in (", ", time_s))[1:]


def _explained(explain: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    """Yield what becomes of the best label's score without a stream, and without some seconds."""
    window = span(explain["start_s"], explain["end_s"])
    yield f"{explain['label']}, in its best window", f"{explain['score']:.3f}", window
    for stream, score in explain["without"].items():
        yield f"  without {stream}", f"{score:.3f}", window
    if explain["seconds"]:
        most = max(explain["seconds"], key=lambda part: part["drop"])
        without = f"{explain['score'] - most['drop']:.3f}"
        yield "  without its strongest part", without, span(most["start_s"], most["end_s"])


def _spans(
    record: Record,
) -> Iterator[tuple[float | None, float | None, list[dict[str, Any]]]]:
    if "windows" not in record:
        yield None, None, record["labels"]
    for window in record.get("windows", ()):
        yield window["start_s"], window["end_s"], window["labels"]


COLUMNS = (
    Column("label", shorten="end"),
    Column("score", number=True),
    Column("at", shorten="end"),
)


def shown(*, timeline: bool, sources: bool) -> Shown:
    """Show the labels, by time in a timeline; `sources`: with whether they are seen or heard."""
    source = ("source",) if sources else ()
    header = ("rank", "label", "score", *source, "times", "start_s", "end_s")
    own = (Column("time", number=True), *COLUMNS) if timeline else COLUMNS
    sheet = Sheet(header, partial(values, sources=sources))
    return Shown((Table(own, partial(cells, timeline=timeline)),), sheet)
