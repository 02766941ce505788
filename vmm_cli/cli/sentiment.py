"""`vmm sentiment`: how a video feels over time, and from which evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from vmm_cli import errors
from vmm_cli.cli import console
from vmm_cli.cli.failure import failure_text
from vmm_cli.cli.help import OUTPUT, RUN
from vmm_cli.cli.options import (
    FORMAT_HELP,
    End,
    NoStore,
    SharedOptions,
    Start,
    check_range,
    complete_model,
    parse_path,
    parse_time,
    takes_shared_options,
)
from vmm_cli.output.escape import escape_controls
from vmm_cli.suggest import did_you_mean

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input
    from vmm_cli.output.table import Cell, Row, TableOfRecords

EVIDENCE = ("face", "voice", "text")
WORKER_MEMORY_BYTES = 900 * 2**20
LEAST_STEP_S, LONGEST_STEP_S = Fraction(1, 10), Fraction(3600)
MOST_FACES = 20

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


def parse_evidence(text: object) -> tuple[str, ...]:
    """Return the kinds of evidence in a comma-separated list, each once, in `EVIDENCE`'s order.

    ValueError where there is none, or one of another name.

    >>> parse_evidence("text, face,text")
    ('face', 'text')
    """
    words = [word for part in str(text).split(",") if (word := part.strip().lower())]
    for word in words:
        if word not in EVIDENCE:
            hint = did_you_mean(word, EVIDENCE) or f"; there are {', '.join(EVIDENCE)}"
            raise ValueError(f"{word!r} is not a kind of evidence{hint}")
    if not words:
        raise ValueError("no evidence is named; give some of face,voice,text")
    return tuple(kind for kind in EVIDENCE if kind in words)


def parse_step(text: object) -> Fraction:
    """Return the step of the curve in seconds, from 0.1 to 3600. ValueError otherwise."""
    step = parse_time(text)
    if not LEAST_STEP_S <= step <= LONGEST_STEP_S:
        raise ValueError(f"{str(text).strip()!r} is not from 0.1 to 3600 seconds")
    return step


def parse_faces(text: object) -> int:
    """Return a number of people from 0 to 20. ValueError otherwise."""
    word = str(text).strip()
    if not re.fullmatch(r"\d{1,3}", word, re.ASCII) or int(word) > MOST_FACES:
        raise ValueError(f"{word!r} is not a whole number from 0 to {MOST_FACES}")
    return int(word)


@takes_shared_options
def sentiment(
    shared: SharedOptions,
    evidence: Annotated[
        Any,
        typer.Option(
            "--evidence",
            "-e",
            metavar="face,voice,text",
            parser=parse_evidence,
            help="Use only these kinds of evidence [default: all].",
            rich_help_panel="Evidence",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            autocompletion=complete_model,
            help="Use a model of `vmm train --task valence` instead of the experts.",
            rich_help_panel="Evidence",
        ),
    ] = None,
    every: Annotated[
        Any,
        typer.Option(
            "--every",
            metavar="S",
            parser=parse_step,
            help="Step of the curve, 0.1 to 3600 seconds [default: 1].",
            rich_help_panel="Evidence",
        ),
    ] = None,
    faces: Annotated[
        int,
        typer.Option(
            "--faces",
            metavar="N",
            show_default=False,
            parser=parse_faces,
            help="Also follow the N people seen longest, one by one (at most 20).",
            rich_help_panel="Evidence",
        ),
    ] = 0,
    asr_model: Annotated[
        Path | None,
        typer.Option(
            "--asr-model",
            metavar="PATH",
            parser=parse_path,
            help="Recognise speech with the faster-whisper model in PATH [default: tiny.en].",
            rich_help_panel="Evidence",
        ),
    ] = None,
    keep_features: Annotated[
        bool,
        typer.Option(
            "--keep-features",
            help="Let the feature store keep features of faces and voices.",
            rich_help_panel=RUN,
        ),
    ] = False,
    keep_transcript: Annotated[
        bool,
        typer.Option(
            "--keep-transcript",
            help="Show the words: in records, tables and subtitles.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    start: Start = None,
    end: End = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="DIR",
            parser=parse_path,
            help="Draw the curve into DIR, a picture per video.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    no_store: NoStore = False,
    format: Annotated[
        Literal["table", "jsonl", "json", "csv", "srt", "vtt"] | None,
        typer.Option(
            "--format",
            metavar="table|jsonl|json|csv|srt|vtt",
            help=FORMAT_HELP,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> int:
    """Estimate the mood of each video over time.

    INPUT is a file of video or sound, or a folder that is searched for such. Subtitles (srt, vtt)
    of several go to a folder: -o DIR. Expression is not feeling: docs/sentiment.md says what this
    cannot tell.
    """
    check_range(start, end)
    step = every or Fraction(1)
    asked: tuple[str, ...] = evidence or EVIDENCE
    if model is not None:
        _refuse_beside_model(evidence, faces, asr_model, keep_transcript)
    elif faces and "face" not in asked:
        raise errors.UsageError("--faces needs faces; add face to --evidence, or leave --faces out")
    elif asr_model is not None and "text" not in asked:
        raise errors.UsageError(
            "--asr-model needs text; add text to --evidence, or leave --asr-model out"
        )
    elif keep_transcript and "text" not in asked:
        raise errors.UsageError(
            "--keep-transcript needs text; add text to --evidence, or leave --keep-transcript out"
        )
    if keep_features and no_store:
        raise errors.UsageError(
            "--keep-features writes to the feature store, which --no-store disables; leave one out"
        )
    if asr_model is not None and not asr_model.is_dir():
        raise errors.UsageError(
            f"{asr_model}: is not a folder; --asr-model takes the folder of a faster-whisper model"
        )
    from vmm_cli import bundles
    from vmm_cli.batch.work import Work
    from vmm_cli.cli.running import run_batch
    from vmm_cli.operations import sentiment as analysis
    from vmm_cli.output.csv_table import CsvTable
    from vmm_cli.output.json_array import JsonArray
    from vmm_cli.output.jsonl import JsonLines
    from vmm_cli.output.sentiment_text import cues
    from vmm_cli.output.subtitles import subtitle_formats

    wanted = analysis.sentiment_request(
        experts=asked,
        model=None if model is None else bundles.load(model),
        every=step,
        faces=faces,
        start=start or Fraction(0),
        end=end,
        asr_model=None if asr_model is None else str(asr_model),
        keep_features=keep_features,
        keep_transcript=keep_transcript,
        use_store=not no_store,
        max_pixels=shared.max_pixels,
    )
    emotions: tuple[str, ...] = EMOTIONS
    kinds: tuple[str, ...] = EVIDENCE
    if wanted.model is not None:
        emotions, kinds = wanted.model.labels, wanted.model.streams
    request: object = wanted
    refuse: Callable[[Sequence[Input]], None] | None = None
    work = Work(run=analysis.run, finish=analysis.finish, plan=analysis.plan)
    if plot is not None:
        from vmm_cli.output.pictured import (
            PicturesRequest,
            refuse_foreign_pictures,
            with_pictures,
        )
        from vmm_cli.output.sentiment_plot import PLOT

        request = PicturesRequest(wanted, plot, shared.overwrite)
        refuse = partial(refuse_foreign_pictures, PLOT, request)
        work = with_pictures(work, PLOT)
    return run_batch(
        shared,
        schema=analysis.SCHEMA,
        request=request,
        options={
            "evidence": None if model is not None else list(asked),
            "every_s": str(step),
            "faces": faces,
            "start": str(wanted.start),
            "end": str(wanted.end),
            "asr_model": wanted.asr_model,
            "keep_transcript": keep_transcript,
            "plot": None if plot is None else str(plot),
            "max_pixels": wanted.max_pixels,
        },
        model_digest=wanted.digest,
        work=work,
        work_memory_bytes=WORKER_MEMORY_BYTES,
        formats={
            "table": _table,
            "jsonl": JsonLines,
            "json": JsonArray,
            "csv": lambda stream: CsvTable(
                stream,
                csv_header(emotions, kinds),
                partial(csv_rows, emotions=emotions, kinds=kinds),
            ),
        },
        single_formats=subtitle_formats(
            partial(cues, start_s=float(wanted.start), every_s=float(step))
        ),
        wanted_format=format,
        pictures=plot,
        refuse=refuse,
        takes_sound=True,
        on_record=Advice().hear,
    )


def _refuse_beside_model(
    evidence: tuple[str, ...] | None, faces: int, asr_model: Path | None, keep_transcript: bool
) -> None:
    """Raise UsageError for what only the experts can do: a model has learnt what it looks at."""
    given = {
        "--evidence": evidence is not None,
        "--faces": bool(faces),
        "--asr-model": asr_model is not None,
        "--keep-transcript": keep_transcript,
    }
    for option, is_given in given.items():
        if is_given:
            raise errors.UsageError(
                f"{option} is for the experts, which --model replaces; leave one of them out"
            )


class Advice:
    """Says once what the installation lacks, of all records of a run."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def hear(self, record: Mapping[str, Any]) -> None:
        """Say what one record advises."""
        for message in record.get("advice", ()):
            if message not in self._said:
                self._said.add(message)
                console.warning(message)


# --- formats ------------------------------------------------------------------------------------


def csv_header(emotions: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table with these emotions and kinds of evidence."""
    names = (escape_controls(name) for name in (*emotions, *kinds))
    return "input", "status", "time_s", "valence", "confidence", *names, "faces", "error"


def csv_rows(
    record: Mapping[str, Any], emotions: Sequence[str], kinds: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each point of the curve; one without any where there is none."""
    name, status = record["input"], record["status"]
    said = failure_text(record)
    points = record.get("curve", ())
    for point in points:
        chances = (point["emotions"].get(emotion) for emotion in emotions)
        weights = (point["evidence"].get(kind) for kind in kinds)
        curve = point["time_s"], point["valence"], point["confidence"]
        yield name, status, *curve, *chances, *weights, point.get("faces"), said
    if not points:
        yield name, status, *[None] * (3 + len(emotions) + len(kinds) + 1), said


def table_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Yield a few rows: what was found, and from what; the input stands in the first one only."""
    from vmm_cli.output.table import Row

    name = record["input"]
    if record["status"] != "ok":
        reason = failure_text(record)
        yield Row((name, reason or record["status"]), failed=bool(reason), rule=True)
        return
    lines = [*_lines(record)]
    for i, line in enumerate(lines, start=1):
        yield Row((name, *line), rule=i == len(lines))
        name = ""


def _lines(record: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    from vmm_cli.output.sentiment_text import missing_words, valence_text
    from vmm_cli.output.table import Times

    summary = record["summary"]
    if summary["valence"] is None:
        yield "valence", "(nothing to go on)"
    else:
        bounds = f"{valence_text(summary['min'])} to {valence_text(summary['max'])}"
        yield "valence", f"{valence_text(summary['valence'])} ({bounds})"
        if summary["dominant"]:
            yield "mostly", summary["dominant"]
        yield "covered", Times((f"{summary['covered']:.0%} of ", record["duration_s"]))
    peaks = [
        part
        for one in summary["peaks"]
        for part in (", ", one["time_s"], f" {valence_text(one['valence'])}")
    ]
    if peaks:
        yield "peaks", Times(tuple(peaks[1:]))
    for person in record.get("people", ()):
        words = [person["dominant"], "seen "]
        if person["valence"] is not None:
            words.insert(0, valence_text(person["valence"]))
        seen = Times((", ".join(filter(None, words)), person["seen_s"]))
        yield f"person {person['person']}", seen
    if record["evidence"]:
        yield "evidence", ", ".join(record["evidence"])
    missing = missing_words(record)
    if missing:
        yield "missing", ", ".join(f"{kind}: {reason}" for kind, reason in missing.items())
    label = "words"
    for part in record.get("transcript", ()):
        yield label, Times((part["start_s"], f" {' '.join(part['text'].split())}"))
        label = ""


def _table(stream: TextIO) -> TableOfRecords:
    from vmm_cli.output.table import Column, TableOfRecords

    columns = [Column("input", shorten="start"), Column("what", min_width=8), Column("value")]
    return TableOfRecords(stream, columns, table_rows)
