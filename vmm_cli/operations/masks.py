"""`vmm detect-objects --segment`: which parts of pictures show what, beside its objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vmm_cli.operations.options import complete_model, option
from vmm_cli.output.rows import Cell, Column, Record, Table, span


def segment_option() -> Any:
    """Declare the model that makes masks; None: none are made."""
    return option(
        "--segment",
        metavar="MODEL",
        complete=complete_model,
        help="Also tell which parts of pictures show what, as masks, by this model: "
        "torchvision/lraspp_mobilenet_v3_large or another to be fetched.",
        counts="never",
    )


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each kind that masks show."""
    summary = record["segmentation"]["summary"]
    for one in summary:
        shares = [f"{one[key]:.1%}" for key in ("share", "most")]
        time = span(one["first_s"], one["last_s"])
        yield one["label"], *shares, f"{one['share_of_time']:.0%}", time
    if not summary:
        yield ("(no kind recognised)",)


TABLE = Table(
    (
        Column("kind", shorten="end"),
        Column("of the picture", number=True),
        Column("at most", number=True),
        Column("of the time", number=True),
        Column("time", number=True),
    ),
    cells,
    tells_failures=False,
)
