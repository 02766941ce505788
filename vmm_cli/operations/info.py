"""`vmm info`: what is inside each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import max_pixels_option, option
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Times, Value

# Only the workers load a decoder.
if TYPE_CHECKING:
    from vmm_cli.analysis.shots import Shot
    from vmm_cli.media.probe import MediaInfo

# A worker peaks at 43 MB with a 720p file; the first picture of an 8K one takes 150 MB more.
WORKER_MEMORY_BYTES = 200 * 2**20
# Reading on takes a decoder of 4K pictures with its references.
SHOTS_WORKER_MEMORY_BYTES = 400 * 2**20
# Of what others wrote into a file; a title of megabytes is no title.
LONGEST_TEXT = 1000  # characters
LONGEST_TITLE = 40  # characters in a table; the records have all of it
MOST_TAGS = 100

T = TypeVar("T")


@dataclass(frozen=True)
class InfoOptions:
    """What `vmm info` can be asked for."""

    shots: bool = option(
        "--shots",
        default=False,
        help="Also find the shots, from cut to cut (decodes every frame).",
        counts="given",
    )
    max_pixels: int = max_pixels_option()


@dataclass(frozen=True)
class Found:
    """What one file holds, its texts shortened; `shots` None: they were not asked for."""

    media: MediaInfo
    tags_left_out: int
    shots: list[Shot] | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the fields of MediaInfo, and `shots` where they were asked for."""
        record = asdict(self.media)
        if self.tags_left_out:
            record["tags_left_out"] = self.tags_left_out
        if self.shots is not None:
            record["shots"] = [
                {"start_s": round(shot.start_s, 6), "end_s": round(shot.end_s, 6)}
                for shot in self.shots
            ]
        return record


def prepare(options: InfoOptions) -> Prepared[InfoOptions, InfoOptions, None, Found]:
    """Say what is to be done; there is nothing to check."""
    memory_bytes = SHOTS_WORKER_MEMORY_BYTES if options.shots else WORKER_MEMORY_BYTES
    return Prepared(options, Work(options, run=run, finish=finish), memory_bytes)


def run(options: InfoOptions, item: Input, part: None = None) -> Found:
    """Probe one input. InputError where it cannot be read, or no picture decoded for its shots."""
    from vmm_cli.analysis.shots import find_shots
    from vmm_cli.media.video import Video

    video = Video(item.path, options.max_pixels)
    media = video.info
    found = Found(shortened(media), max(0, len(media.tags) - MOST_TAGS))
    if not options.shots:
        return found
    return replace(found, shots=find_shots(video) if media.video else [])


def finish(options: InfoOptions, item: Input, parts: Sequence[Found]) -> Found:
    """Return what was found: no input is split."""
    (found,) = parts
    return found


def shortened(value: T) -> T:
    """Return what a file says of itself with long texts cut, which say how long they were.

    value: texts, and dataclasses, tuples and mappings of them; the first `MOST_TAGS` of mappings.
    """
    new: Any = value
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        new = f"{value[:LONGEST_TEXT]}... ({len(value):,} characters)"
    elif isinstance(value, tuple):
        new = tuple(map(shortened, value))
    elif isinstance(value, dict):
        first = list(value.items())[:MOST_TAGS]
        new = {shortened(key): shortened(inner) for key, inner in first}
    elif is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: shortened(getattr(value, field.name)) for field in fields(value)}
        new = replace(value, **inside)
    shorter: T = new
    return shorter


# --- how records are shown ----------------------------------------------------------------------


def fact_cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for what is inside a file."""
    video = record["video"][0] if record["video"] else None
    yield (
        Times((record["duration_s"],)),
        f"{video['display_width']}x{video['display_height']}" if video else "-",
        f"{video['frame_rate']:.5g}" if video and video["frame_rate"] else "-",
        *(_names(record[kind]) or "-" for kind in ("video", "audio", "captions")),
        ", ".join(_notes(record, video)),
    )


def shot_cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each shot."""
    for number, shot in enumerate(record.get("shots", ()), start=1):
        lasts_s = shot["end_s"] - shot["start_s"]
        times = shot["start_s"], shot["end_s"], lasts_s
        yield str(number), *(Times((seconds,)) for seconds in times)


def fact_values(record: Record) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for what is inside a file."""
    video = record["video"][0] if record["video"] else {}
    numbers = (video.get(key) for key in ("display_width", "display_height", "frame_rate"))
    streams = (_names(record[kind]) for kind in ("video", "audio", "captions"))
    yield record["duration_s"], *numbers, *streams, record["title"]


def shot_values(record: Record) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each shot."""
    for number, shot in enumerate(record.get("shots", ()), start=1):
        yield number, shot["start_s"], shot["end_s"]


def _names(streams: list[dict[str, Any]]) -> str:
    words = []
    for stream in streams:
        language = f" ({stream['language']})" if stream.get("language") not in (None, "und") else ""
        words.append(f"{stream['codec'] or 'unknown'}{language}")
    return ", ".join(words)


def _notes(record: Record, video: Mapping[str, Any] | None) -> Iterator[str]:
    if video:
        if video["rotation"]:
            yield f"turned {video['rotation']} degrees"
        if video["interlaced"]:
            yield "interlaced"
        if video["hdr"]:
            yield f"HDR {video['hdr']}"
        if video["timestamps_vary"]:
            yield "uneven times"
        if not video["decodable"]:
            yield "no picture could be decoded"
    if "shots" in record:
        n = len(record["shots"])
        yield f"{n} shot{'' if n == 1 else 's'}"
    if record["title"]:
        from vmm_cli.output.table import shortened as cut  # loads rich

        yield f"title {cut(record['title'], LONGEST_TITLE)!r}"


FACTS = Table(
    own=(
        Column("duration", number=True),
        Column("size"),
        Column("fps", number=True),
        *map(Column, ("video", "sound", "captions", "notes")),
    ),
    cells=fact_cells,
    grouped=False,
)
SHOTS = Table(
    own=[Column(title, number=True) for title in ("shot", "start", "end", "length")],
    cells=shot_cells,
    tells_failures=False,
)
FACTS_SHEET = Sheet(
    ("duration_s", "width", "height", "fps", "video", "sound", "captions", "title"), fact_values
)
SHOTS_SHEET = Sheet(("shot", "start_s", "end_s"), shot_values)


def shown(options: InfoOptions) -> Shown:
    """Show what is inside each file and, below, the shots where they were looked for."""
    if options.shots:
        return Shown(tables=(FACTS, SHOTS), sheet=SHOTS_SHEET)
    return Shown(tables=(FACTS,), sheet=FACTS_SHEET)


INFO = Operation(
    name="info",
    schema="vmm.info/1",
    help="Show what is inside each file.",
    examples=(
        ("What is in the videos of a folder?", "vmm info clips"),
        ("Where are the cuts? As a table", "vmm info clip.mp4 --shots --format csv"),
    ),
    options=InfoOptions,
    group="Facts",
    prepare=prepare,
    shown=shown,
    formats=formats("table", "jsonl", "json", "csv"),
)
