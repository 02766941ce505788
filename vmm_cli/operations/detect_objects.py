"""`vmm detect-objects`: what is to be seen in pictures, where, and how it moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmm_cli import progress
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Found, Work
from vmm_cli.errors import OptionError
from vmm_cli.operations import blurring, masks, object_rows
from vmm_cli.operations.blurring import Blurring, FoundAndCovered
from vmm_cli.operations.device import device_wanted
from vmm_cli.operations.drawn_videos import DRAWING_BYTES, SUFFIX, drawn_into
from vmm_cli.operations.object_rows import objects_of
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    OUTPUT,
    check,
    complete_model,
    device_option,
    end_option,
    max_pixels_option,
    no_store_option,
    option,
    overwrite_option,
    start_option,
)
from vmm_cli.operations.parse import (
    parse_labels,
    parse_path,
    parse_positive_seconds,
    parse_rate,
    parse_score,
)
from vmm_cli.operations.wanted_labels import wanted_labels
from vmm_cli.output.formats import Shown as ShownAs
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Value, span
from vmm_cli.output.subtitles import Cue

# What computes loads when a model is there to be run.
if TYPE_CHECKING:
    from vmm_cli.analysis.objects import ObjectsFound, Wanted
    from vmm_cli.bundles import Bundle
    from vmm_cli.features.sightings import Sightings, Watching
    from vmm_cli.identity import FileIdentity
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.media.video import Video
    from vmm_cli.media.writing import Edit

WORKER_MEMORY_BYTES = 500 * 2**20
CHOICES = ("every", "fps")
PICTURES_PER_S = 2
MIN_PICTURES_PER_PART = 24  # they take about a second; a worker starts in half of one


@dataclass(frozen=True)
class ObjectOptions:
    """What `vmm detect-objects` can be asked for; times in seconds."""

    model: str = option(
        "--model",
        "-m",
        default="objects",
        metavar="MODEL",
        complete=complete_model,
        help="A model for objects from `vmm models list`, or its folder [default: objects].",
        counts="never",
    )
    every: Fraction | None = option(
        "--every",
        metavar="S",
        parse=parse_positive_seconds,
        help="Look at one picture every S seconds.",
    )
    fps: Fraction | None = option(
        "--fps",
        metavar="F",
        parse=parse_rate,
        help=f"Look at F pictures per second [default: {PICTURES_PER_S}].",
    )
    labels: tuple[str, ...] | None = option(
        "--labels", metavar="A,B", parse=parse_labels, help="Look for these labels only."
    )
    min_score: float | None = option(
        "--min-score",
        metavar="0-1",
        parse=parse_score,
        help="Drop what no two pictures score so high [default: the model's own threshold].",
    )
    pose: bool = option("--pose", default=False, help="Read the poses of people: 17 points each.")
    segment: str | None = masks.segment_option()
    draw: Path | None = option(
        "--draw",
        metavar="DIR",
        parse=parse_path,
        help="Write each video again into DIR, an MP4 with its sound, and draw boxes, labels, "
        "tracks and poses on all its pictures; with --start and --end only that part.",
        group=OUTPUT,
        counts="never",  # what an earlier run drew elsewhere is drawn again
        writes=True,
    )
    blur: tuple[str, ...] | None = option(
        "--blur",
        metavar="A,B",
        parse=parse_labels,
        help="With --draw: draw nothing, and make these unrecognisable instead: labels, or faces. "
        f"Looks at {blurring.PICTURES_PER_S} pictures per second unless --fps or --every is given. "
        "No guarantee: look at what you publish.",
        group=OUTPUT,
        counts="given",
        writes=True,
    )
    rows: Path | None = option(
        "--rows",
        metavar="DIR",
        parse=parse_path,
        help="Write the objects of each video into DIR, a JSON-lines file each, and only its name "
        "and their number into the record: for long videos.",
        group=OUTPUT,
        counts="given",
        writes=True,
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    device: str = device_option()
    no_store: bool = no_store_option()
    overwrite: bool = overwrite_option()
    max_pixels: int = max_pixels_option()


@dataclass(frozen=True)
class Job:
    """What is wanted of every input."""

    watching: Watching
    wanted: Wanted
    sampling: Sampling
    use_store: bool
    max_pixels: int
    segmenting: Bundle | None = None
    draws: bool = False
    blurring: Blurring | None = None
    rows: Path | None = None

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        from vmm_cli.media.video import Video

        return Video(input.path, self.max_pixels, self.sampling.start, self.sampling.end)

    def edit(self, record: dict[str, Any]) -> Edit:
        """Return what draws a record on its pictures."""
        if self.blurring is not None:
            return blurring.hiding(record)
        from vmm_cli.analysis.boxes_between import BoxesBetween
        from vmm_cli.pictures.boxes import draw_boxes

        boxes = BoxesBetween(record["times_s"], record["objects"])
        labels = self.watching.objects.labels
        return lambda time_s, image: draw_boxes(image, boxes.at(time_s), labels)


@dataclass(frozen=True, eq=False)
class SeenInPart:
    """What was seen in a part of a video; `identity`: of the file, None where it is not kept."""

    seen: Sightings
    identity: FileIdentity | None


# --- the work: prepare, plan, run, finish -------------------------------------------------------


def prepare(options: ObjectOptions) -> Prepared[ObjectOptions, Job, Sampling, Found | SeenInPart]:
    """Load the models, and check the options against them."""
    from vmm_cli import bundles
    from vmm_cli.analysis.objects import MIN_SCORE, Wanted
    from vmm_cli.engines.of_model import remark_on_graph
    from vmm_cli.features.objects import reads_poses
    from vmm_cli.features.segmentation import check_masks
    from vmm_cli.features.sightings import Watching
    from vmm_cli.media import sampling

    check(options, CHOICES)
    model = bundles.load(options.model)
    pose = (model if reads_poses(model) else bundles.load("pose")) if options.pose else None
    segmenting = None if options.segment is None else bundles.load(options.segment)
    if segmenting is not None:
        check_masks(segmenting)
    min_score = options.min_score
    if min_score is None:
        min_score = model.thresholds.get("score", MIN_SCORE)
    labels = wanted_labels(options.labels, model)
    usual, blurs = PICTURES_PER_S, None
    if options.blur is not None:
        if options.draw is None:
            raise OptionError("{blur} needs a folder for the blurred videos; name it with {draw}")
        usual, blurs = blurring.PICTURES_PER_S, blurring.blurring_of(options.blur, model)
    step = options.every or 1 / (options.fps or Fraction(usual))
    settled = replace(
        options,
        labels=None if labels is None else tuple(sorted(labels)),  # in no order
        blur=None if blurs is None else tuple(blurs.names),
        min_score=min_score,
        fps=None,  # the same times under another name
        every=step,
        rows=None if options.rows is None else Path(object_rows.FIELD),  # wherever they lie
    )
    job = Job(
        Watching(model, pose),
        Wanted(settled.labels, min_score),
        sampling.every(step, start=options.start, end=options.end),
        not options.no_store,
        options.max_pixels,
        segmenting,
        options.draw is not None,
        blurs,
        options.rows,
    )
    device = device_wanted(options.device)
    work = _with_files(Work(job, run=run, finish=finish, plan=plan, device=device), options)
    models = [one for one in (model, pose, segmenting) if one is not None]
    memory_bytes = _memory_bytes(models) + (DRAWING_BYTES if job.draws else 0)
    digest = " ".join(one.journal_digest for one in models)
    remark = None if segmenting is None else remark_on_graph(segmenting)
    remarks = () if remark is None else (remark,)
    return Prepared(settled, work, memory_bytes, digest, remarks=remarks, takes_stills=True)


def _with_files(
    work: Work[Job, Sampling, Found | SeenInPart], options: ObjectOptions
) -> Work[Job, Sampling, Found | SeenInPart]:
    """Return work that makes the files, too, that a user wants of each input."""
    if options.draw is not None:
        suffix = SUFFIX if options.blur is None else blurring.SUFFIX
        work = drawn_into(work, options.draw, suffix, overwrite=options.overwrite)
    if options.rows is not None:
        rows = object_rows.ObjectRows(options.rows, options.overwrite)
        work = replace(work, beside=(*work.beside, rows))  # last: what is drawn needs the objects
    return work


def _memory_bytes(models: Sequence[Bundle]) -> int:
    """Return what a worker takes: what was measured of the models, where that is more."""
    from vmm_cli.bundles.published_coco import COCO

    kinds = {str(model.network.get("kind")) for model in models} & COCO.keys()
    measured = sum(COCO[kind].memory_mib for kind in kinds) * 2**20
    return max(WORKER_MEMORY_BYTES, measured)


def plan(job: Job, input: Input, workers: int) -> list[Sampling | None]:
    """Return the pictures of each part to run: [None] for the whole, unless splitting it pays.

    Raises:
        InputError: the input cannot be read, or has no pictures.
    """
    from vmm_cli.features.sightings import are_kept
    from vmm_cli.media.sampling import split, wanted_times

    video = job.video(input)
    whole = workers < 2 or job.draws or job.segmenting is not None
    if whole or (job.use_store and are_kept(video, job.sampling, job.watching)):
        return [None]
    end = video.pictures_end_s
    times = [] if job.sampling.start >= end else list(wanted_times(job.sampling, end))
    parts = min(workers, len(times) // MIN_PICTURES_PER_PART)
    if parts < 2:
        return [None]
    return [*split(job.sampling, [times[i * len(times) // parts] for i in range(1, parts)], end)]


def run(job: Job, input: Input, part: Sampling | None) -> Found | SeenInPart:
    """Look at one input, or at a part of its pictures.

    Raises:
        InputError: it cannot be read, has no pictures, or ends before the wanted part.
        ModelError: a model is damaged, or was exchanged meanwhile.
    """
    from vmm_cli.analysis.segmentation import segmentation_of
    from vmm_cli.features.segmentation import Segmenter
    from vmm_cli.features.sightings import sightings
    from vmm_cli.media import damage

    video = job.video(input)
    if job.draws:
        progress.rounds(2)
    _ = video.pictures_end_s, video.until_s  # refuses what has no pictures, or ends before
    if part is not None:
        identity = video.identity if job.use_store else None
        seen = sightings(video, part, job.watching, use_store=False)
        return SeenInPart(seen, None if damage.is_noted(video.path) else identity)
    segmenter = None
    if job.segmenting is not None:
        segmenter = Segmenter(job.sampling, job.segmenting, job.wanted.labels)
    faces = None if job.blurring is None else job.blurring.finder(job.sampling)
    beside = [taker for taker in (segmenter, faces) if taker is not None]
    seen = sightings(video, job.sampling, job.watching, use_store=job.use_store, beside=beside)
    found = _found(job, video, seen)
    if job.segmenting is not None and segmenter is not None:
        masks = segmenter.masks()
        shares = segmentation_of(masks, job.segmenting, found.times_s, found.until_s)
        found = replace(found, segmentation=shares)
    if job.blurring is None:
        return found
    covered = job.blurring.covered(seen, faces, found, float(job.sampling.step_s or 0))
    return FoundAndCovered(found, job.blurring.names, covered)


def finish(job: Job, input: Input, parts: Sequence[Found | SeenInPart]) -> Found:
    """Return what was found in one input, from all its parts, and keep it where that is not done.

    Raises:
        InputError: it cannot be read any more.
    """
    from vmm_cli.features.sightings import joined, keep_objects

    split = [part for part in parts if isinstance(part, SeenInPart)]
    if not split:
        (whole,) = parts
        return cast("Found", whole)
    video = job.video(input)
    seen = joined([part.seen for part in split])
    if all(part.identity == video.identity for part in split):
        keep_objects(video, job.sampling, job.watching, seen)
    return _found(job, video, seen)


def _found(job: Job, video: Video, seen: Sightings) -> ObjectsFound:
    from vmm_cli.analysis.objects import Shown, objects_found

    size = video.info.video[0]
    shown = Shown(video.duration_s, float(video.until_s), size.display_width, size.display_height)
    found = objects_found(seen, job.watching.objects, job.wanted, shown)
    return replace(found, in_rows=job.rows is not None)


# --- how records are shown ----------------------------------------------------------------------


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each label."""
    for one in record["summary"]:
        time = span(one["first_s"], one["last_s"])
        tracks = "-" if one["tracks"] is None else str(one["tracks"])
        share = f"{one['share_of_time']:.0%}"
        yield one["label"], str(one["most_at_once"]), tracks, share, time
    if not record["summary"]:
        yield ("(nothing recognised)",)


def values(objects: Iterable[Record]) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each object of each picture."""
    for one in objects:
        yield one["time_s"], one["label"], one["score"], *one["box"], one.get("track")


def cues(record: Record) -> Iterator[Cue]:
    """Yield a cue for as long as the same is to be seen: "person 2, car"."""
    for one in record["timeline"]:
        named = (f"{name} {n}" if n > 1 else name for name, n in one["counts"].items())
        yield Cue(one["start_s"], one["end_s"], ", ".join(named))


TABLE = Table(
    (
        Column("label", shorten="end"),
        Column("at once", number=True),
        Column("tracks", number=True),
        Column("of the time", number=True),
        Column("time", number=True),
    ),
    cells,
)
HEADER = ("time_s", "label", "score", "x", "y", "w", "h", "track")


def shown(job: Job) -> ShownAs:
    """Return how the records of a job are shown."""
    objects = objects_of(job.rows)
    return ShownAs(
        (TABLE,) if job.segmenting is None else (TABLE, masks.TABLE),
        Sheet(HEADER, lambda record: values(objects(record))),
        cues,
        job.watching.objects.labels,
        objects,
    )


DETECT_OBJECTS = Operation(
    name="detect-objects",
    schema="vmm.detect-objects/1",
    help="""Find people and things in each video: what, where and when, and how they move.

    Looks at two pictures per second, follows what it finds, and drops what no two pictures agree
    on. Boxes are x, y, width and height in shares of the displayed picture.
    """,
    examples=(
        ("How many people are seen, and when", "vmm detect-objects clips --labels person"),
        (
            "Every box and pose of ten pictures a second",
            "vmm detect-objects clip.mp4 --fps 10 --pose -o clip.jsonl",
        ),
    ),
    options=ObjectOptions,
    group="Objects",
    prepare=prepare,
    shown=shown,
    formats=formats("table", "jsonl", "json", "csv", "coco", "srt", "vtt", "mot"),
    either_or=CHOICES,
)
