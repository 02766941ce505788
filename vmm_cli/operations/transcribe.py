"""`vmm transcribe`: what is said in a video, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.batch.inputs import Input
from vmm_cli.batch.work import Work
from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.errors import InputError, OptionError
from vmm_cli.operations.operation import Operation, Prepared, formats
from vmm_cli.operations.options import (
    check,
    end_option,
    max_pixels_option,
    option,
    start_option,
)
from vmm_cli.operations.parse import parse_path
from vmm_cli.output.formats import Shown
from vmm_cli.output.rows import Cell, Column, Record, Sheet, Table, Value, span
from vmm_cli.output.subtitles import Cue

# The recogniser is imported where it runs.
if TYPE_CHECKING:
    from vmm_cli.features.transcript import Transcript
    from vmm_cli.media.captions import Caption
    from vmm_cli.media.video import Video

# A worker with tiny.en peaks at 360 MB; a network of the user's own takes its file more.
WORKER_MEMORY_BYTES = 500 * 2**20
UNSPACED = frozenset({"ja", "lo", "my", "th", "yue", "zh"})  # written without spaces
NOTHING_SAID, NOT_UNDERSTOOD = "(nothing said)", "(not understood)"


def parse_language(text: object) -> str:
    """Return a language's code, of two or three letters. ValueError otherwise."""
    word = str(text).strip().lower()
    if not re.fullmatch("[a-z]{2,3}", word, re.ASCII):
        raise ValueError(f"{str(text)!r} is no language code; give one such as en or de")
    return word


@dataclass(frozen=True)
class TranscribeOptions:
    """What `vmm transcribe` can be asked for; times in seconds."""

    model: Path | None = option(
        "--model",
        "-m",
        metavar="PATH",
        parse=parse_path,
        help="Recognise speech with the faster-whisper model in PATH [default: tiny.en].",
        counts="never",
    )
    language: str | None = option(
        "--language",
        metavar="CODE",
        parse=parse_language,
        help="What is spoken, such as en or de [default: the model tells; tiny.en knows English].",
    )
    start: Fraction = start_option()
    end: Fraction | None = end_option()
    max_pixels: int = max_pixels_option()


@dataclass(frozen=True)
class Job:
    """What is wanted of every input; `model`: the recogniser's folder, None: the packaged one."""

    model: str | None
    name: str
    language: str | None
    start: Fraction
    end: Fraction | None
    max_pixels: int

    def video(self, input: Input) -> Video:
        """Return an input's wanted part."""
        from vmm_cli.media.video import Video

        return Video(input.path, self.max_pixels, self.start, self.end)


@dataclass(frozen=True)
class Transcription:
    """What is said in one input.

    Attributes:
        model: what the recogniser is called.
        said: the segments, their language, and what was not understood.
        written: the captions that the input has besides, which were not used.
    """

    duration_s: float
    model: str
    said: Transcript
    written: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Transcription({self.text!r})"

    @property
    def language(self) -> str | None:
        """What is spoken, as ISO 639-1; None where nothing was understood."""
        return self.said.language or None

    @property
    def segments(self) -> tuple[Caption, ...]:
        """What is said, each with its `start_s`, `end_s` and `text`."""
        return self.said.captions

    @property
    def text(self) -> str:
        """All that is said, in one paragraph."""
        return joined(self.language, (caption.text for caption in self.segments))

    def to_record(self) -> dict[str, Any]:
        """Return the fields of a record, rounded, as JSON types."""
        said = self.said
        chance = said.probability
        record: dict[str, Any] = {
            "duration_s": round(self.duration_s, TIME_DIGITS),
            "model": self.model,
            "source": "recognised",
            "language": self.language,
            "language_probability": None if chance is None else round(chance, SCORE_DIGITS),
            "segments": [
                {
                    "start_s": round(caption.start_s or 0.0, TIME_DIGITS),
                    "end_s": round(caption.end_s or 0.0, TIME_DIGITS),
                    "text": caption.text,
                }
                for caption in self.segments
            ],
        }
        if said.missed:
            record["not_understood"] = [
                {"start_s": round(start_s, TIME_DIGITS), "end_s": round(end_s, TIME_DIGITS)}
                for start_s, end_s in said.missed
            ]
        if self.written:
            record["captions"] = [*self.written]
        if warnings := [*self._warnings()]:
            record["warnings"] = warnings
        return record

    def _warnings(self) -> Iterator[str]:
        from vmm_cli.features.transcript import PACKAGED, not_understood

        if self.said.language == "":
            another = f"; {PACKAGED} knows English alone" if self.model == PACKAGED else ""
            yield f"what is said was not understood as English{another}"
        elif self.said.missed:
            yield not_understood(self.said.missed)


# --- the work: prepare, run, finish -------------------------------------------------------------


def prepare(options: TranscribeOptions) -> Prepared[TranscribeOptions, Job, None, Transcription]:
    """Look for the recogniser, and check the options against it."""
    from vmm_cli.features.transcript import PACKAGED, recogniser_digest, recogniser_folder

    check(options)
    model = None if options.model is None else str(options.model)
    folder = recogniser_folder(model)
    if model is None and options.language not in (None, "en"):
        raise OptionError(
            "{language} {code}: {name} knows English alone; give a recogniser of more languages "
            "with {model}",
            code=options.language,
            name=PACKAGED,
        )
    name = PACKAGED if model is None else folder.resolve().name
    job = Job(
        None if model is None else str(folder.resolve()),
        name,
        options.language,
        options.start,
        options.end,
        options.max_pixels,
    )
    own_bytes = 0 if model is None else (folder / "model.bin").stat().st_size
    return Prepared(
        options,
        Work(job, run=run, finish=finish),
        WORKER_MEMORY_BYTES + own_bytes,
        recogniser_digest(folder),
        takes_sound=True,
    )


def run(job: Job, input: Input, part: None = None) -> Transcription:
    """Recognise what is said in one input.

    Raises:
        InputError: the input cannot be read; `no_audio`, `past_end`: there is no sound in it, or
            in the wanted part.
        ModelError: the recogniser is damaged, or does not know the language.
    """
    from vmm_cli.features.transcript import transcribe
    from vmm_cli.media.video import wanted_until

    video = job.video(input)
    if not video.has_sound:
        raise InputError("no_audio", "there is no sound in it")
    if video.duration_s:
        wanted_until(job.start, job.end, Fraction(video.duration_s))
    end_s = None if job.end is None else float(job.end)
    start_s = float(job.start)
    said = transcribe(video, start=start_s, end=end_s, model=job.model, language=job.language)
    if not said.sound_s:
        where = " in the wanted part" if job.start or job.end is not None else ""
        raise InputError("no_audio", f"there is no sound{where} that can be decoded")
    return Transcription(video.duration_s or said.sound_s, job.name, said, [*_written(video)])


def _written(video: Video) -> Iterator[str]:
    """Yield what the captions are called that a video has: streams in it, files beside it."""
    from vmm_cli.media.sidecars import sidecar_files

    for stream in video.info.captions:
        named = stream.language not in (None, "und")
        yield f"{stream.codec or 'unknown'}{f' ({stream.language})' if named else ''}"
    yield from (file.name for file, _ in sidecar_files(video.path))


def finish(job: Job, input: Input, parts: Sequence[Transcription]) -> Transcription:
    """Return what is said: no input is split."""
    (said,) = parts
    return said


# --- how records are shown ----------------------------------------------------------------------


def cells(record: Record) -> Iterator[Sequence[Cell]]:
    """Yield the table's row for each segment, and one for captions that there are."""
    for segment in record["segments"]:
        yield span(segment["start_s"], segment["end_s"]), " ".join(segment["text"].split())
    if not record["segments"]:
        yield (NOT_UNDERSTOOD if "not_understood" in record else NOTHING_SAID,)
    if "captions" in record:
        yield (f"(it has captions too: {', '.join(record['captions'])})",)


def values(record: Record) -> Iterator[Sequence[Value]]:
    """Yield the CSV row for each segment."""
    for segment in record["segments"]:
        yield segment["start_s"], segment["end_s"], segment["text"]


def cues(record: Record) -> Iterator[Cue]:
    """Yield a cue for each segment."""
    for segment in record["segments"]:
        yield Cue(segment["start_s"], segment["end_s"], segment["text"])


def text(record: Record) -> str:
    """Return all that is said, in one paragraph."""
    return joined(record["language"], (segment["text"] for segment in record["segments"]))


def joined(language: str | None, texts: Iterable[str]) -> str:
    """Return texts in one, with spaces between them where the language is written with any."""
    return ("" if language in UNSPACED else " ").join(texts)


TABLE = Table((Column("time", number=True), Column("what is said")), cells)
SHEET = Sheet(("start_s", "end_s", "text"), values)

TRANSCRIBE = Operation(
    name="transcribe",
    schema="vmm.transcribe/1",
    help="""Write down what is said in each video, and when.

    INPUT is a file of video or sound, or a folder that is searched for such. Speech is recognised
    by Whisper, an extra: pip install 'vmm-cli[speech]'. Subtitles (srt, vtt) of several inputs go
    to a folder: -o DIR. A txt of several holds them all, or each has its own: -o DIR/.
    """,
    examples=(
        ("What is said in it?", "vmm transcribe talk.mp4"),
        ("Subtitles for each video of a folder", "vmm transcribe talks -o subtitles --format srt"),
    ),
    options=TranscribeOptions,
    group="Speech",
    prepare=prepare,
    shown=lambda job: Shown((TABLE,), SHEET, cues, text=text),
    formats=formats("table", "txt", "jsonl", "json", "csv", "srt", "vtt"),
)
