"""The options that commands share, each said once.

`SharedOptions` is what every command over many inputs takes; `@takes_shared_options` gives a
command function one `shared` argument and the shell all the options behind it. The others (device,
store, time range) are for the commands they mean something to.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from vmm_cli import errors
from vmm_cli.cli import configuration, console
from vmm_cli.cli.help import INPUT, OUTPUT, RUN

DEFAULT_MAX_PIXELS = 8192 * 8192

# These say what one call works on, so neither the environment nor a file may set them.
COMMAND_LINE_ONLY = frozenset(
    {
        *("inputs", "files_from", "null", "output", "overwrite", "start", "end", "dry_run"),
        *("config", "help"),
    }
)

# Those that mean the same in every command: VMM_JOBS beside VMM_CLASSIFY_JOBS, `jobs:` at the top
# of the configuration file beside `classify: {jobs: ...}`.
SHARED_NAMES = frozenset(
    {
        "jobs",
        "timeout",
        "max_memory",
        "no_resume",
        "no_store",
        "device",
        "max_pixels",
        "quiet",
        "verbose",
        "log_file",
    }
)

# Of these a command obeys one: a flag takes the place of another one from the environment or a
# file, as it would take the place of its own value from there.
EITHER_OR = frozenset({"fps", "every", "count", "at", "keyframes", "all", "shots"})
_SOURCES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")  # Typer's names, the strongest first

_SECONDS = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?", re.ASCII)
_PIXELS = re.compile(r"(\d+)(?:[xX](\d+))?", re.ASCII)
_BYTES = re.compile(r"(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?b)?", re.ASCII)
LEAST_MEMORY = 2**20


def parse_time(text: object) -> Fraction:
    """Return seconds from "12.5", "MM:SS[.mmm]" or "HH:MM:SS[.mmm]". ValueError otherwise.

    >>> float(parse_time("1:02:03.5"))
    3723.5
    """
    word = str(text).strip()
    if _SECONDS.fullmatch(word):
        return Fraction(word)
    if word.startswith("-"):
        raise ValueError(f"{word!r} lies before the start of the video")
    clock = _CLOCK.fullmatch(word)
    if clock is None:
        raise ValueError(f"{word!r} is not a valid time; give seconds (12.5) or [HH:]MM:SS[.mmm]")
    hours, minutes, seconds = clock.groups()
    if int(minutes) >= 60 or Fraction(seconds) >= 60:
        raise ValueError(f"{word!r} is not a valid time: minutes and seconds go up to 59")
    return int(hours or 0) * 3600 + int(minutes) * 60 + Fraction(seconds)


def parse_positive_seconds(text: object) -> Fraction:
    """Return seconds above zero, written as `parse_time` reads them. ValueError otherwise."""
    seconds = parse_time(text)
    if seconds <= 0:
        raise ValueError(f"{str(text)!r} is not above 0 seconds")
    return seconds


def parse_count(text: object) -> int:
    """Return a whole number of at least 1. ValueError otherwise."""
    word = str(text).strip()
    if not re.fullmatch(r"\d+", word, re.ASCII) or int(word) < 1:
        raise ValueError(f"{word!r} is not a whole number of at least 1")
    return int(word)


def parse_device(text: object) -> str:
    """Return "auto", "cpu", "cuda" or "cuda:N". ValueError otherwise."""
    word = str(text).strip().lower()
    if not _DEVICE.fullmatch(word):
        raise ValueError(f"{str(text)!r} is not a valid device; give auto, cpu, cuda or cuda:N")
    return word


def parse_max_pixels(text: object) -> int:
    """Return a number of pixels from "67108864" or "8192x8192". ValueError otherwise."""
    word = str(text).strip()
    match = _PIXELS.fullmatch(word)
    pixels = 0 if match is None else int(match.group(1)) * int(match.group(2) or 1)
    if pixels < 1:
        raise ValueError(f"{word!r} is not a valid number of pixels; give 67108864 or 8192x8192")
    return pixels


def parse_memory(text: object) -> int:
    """Return bytes from "900M", "1.5G" or "2GiB", in powers of 1024; 0 from "none".

    ValueError otherwise, and for less than 1M.
    """
    word = str(text).strip().lower()
    if word in ("none", "0"):
        return 0
    match = _BYTES.fullmatch(word)
    size = 0 if match is None else int(Fraction(match[1]) * 1024 ** " kmgt".index(match[2] or " "))
    if size < LEAST_MEMORY:
        raise ValueError(f"{str(text)!r} is no amount of memory; give 900M, 1.5G or none")
    return size


def parse_file_name(text: object) -> str:
    """Return the name of a file. ValueError where it is empty."""
    name = str(text)
    if not name:
        raise ValueError("the name is empty; name a file or a folder, or . for the current one")
    return name


def parse_path(text: object) -> Path:
    """Return a path. ValueError where it is empty, which Path would take for the current folder."""
    return Path(parse_file_name(text))


def _configure(context: typer.Context, value: Path | None) -> Path | None:
    if not context.resilient_parsing:
        configuration.apply(context, value, shared=SHARED_NAMES, excluded=COMMAND_LINE_ONLY)
    return value


def _hear(value: int) -> int:
    console.settings.verbosity = value
    return value


def _hush(value: bool) -> bool:
    console.settings.quiet = value
    return value


def _log(value: Path | None) -> Path | None:
    if value is not None:
        console.open_log(value)
    return value


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Video files, or folders to search for videos.",
        rich_help_panel=INPUT,
    ),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        metavar="FILE",
        parser=parse_file_name,
        help="Read more inputs from FILE, one per line; - is standard input.",
        rich_help_panel=INPUT,
    ),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null",
        "-0",
        help="Entries in --files-from end with NUL instead of a newline.",
        rich_help_panel=INPUT,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        parser=parse_file_name,
        help="Write the results to this file. A rerun skips what is done already.",
        rich_help_panel=OUTPUT,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        parser=parse_count,
        help="Process N inputs in parallel [default: as many as cores and memory allow].",
        rich_help_panel=RUN,
    ),
]
Timeout = Annotated[
    Fraction | None,
    typer.Option(
        "--timeout",
        metavar="S",
        parser=parse_positive_seconds,
        help="Give up on an input after S seconds [default: depends on its duration].",
        rich_help_panel=RUN,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace files that vmm did not write.",
        rich_help_panel=OUTPUT,
    ),
]
MaxMemory = Annotated[
    int | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        parser=parse_memory,
        help="Give up on an input that takes more memory, as 900M or 2G [default: what fits].",
    ),
]
NoResume = Annotated[
    bool,
    typer.Option(
        "--no-resume",
        help="Redo everything, even what is done already.",
        rich_help_panel=RUN,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Only list the inputs that would be processed.",
        rich_help_panel=RUN,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        show_default=False,
        metavar="N",
        parser=parse_max_pixels,
        help="Refuse larger pictures, given as N or WxH [default: 8192x8192].",
        rich_help_panel=RUN,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_hush,
        help="Show no progress bar and no warnings.",
        rich_help_panel=RUN,
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        show_default=False,
        count=True,
        callback=_hear,
        metavar="",
        help="Say more; -vv adds tracebacks.",
        rich_help_panel=RUN,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        parser=parse_path,
        callback=_log,
        help="Append messages, with times and tracebacks, to FILE.",
        rich_help_panel=RUN,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        parser=parse_path,
        is_eager=True,
        callback=_configure,
        help="Read defaults from FILE instead of your own configuration file.",
        rich_help_panel=RUN,
    ),
]

# Of the commands they mean something to
Device = Annotated[
    str,
    typer.Option(
        "--device",
        show_default=False,
        metavar="NAME",
        parser=parse_device,
        help="Compute on auto, cpu or cuda[:N] [default: auto].",
        rich_help_panel=RUN,
    ),
]
NoStore = Annotated[
    bool,
    typer.Option(
        "--no-store",
        help="Do not use the feature store, which keeps computed features.",
        rich_help_panel=RUN,
    ),
]
Start = Annotated[
    Fraction | None,
    typer.Option(
        "--start",
        metavar="TIME",
        parser=parse_time,
        help="Start here: seconds or [HH:]MM:SS[.mmm].",
        rich_help_panel=INPUT,
    ),
]
End = Annotated[
    Fraction | None,
    typer.Option(
        "--end",
        metavar="TIME",
        parser=parse_time,
        help="Stop here: seconds or [HH:]MM:SS[.mmm].",
        rich_help_panel=INPUT,
    ),
]

# Of commands with a record for each input
FORMAT_HELP = (
    "Format of the results [default: by the suffix of -o, or table on a terminal, else jsonl]."
)

# Of commands that print one document
DocumentFormat = Annotated[
    Literal["table", "json"] | None,
    typer.Option(
        "--format",
        metavar="table|json",
        help="Format of the results [default: table on a terminal, else json].",
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class SharedOptions:
    """What every command over many inputs takes; times in seconds, `jobs` None: as many as fit.

    `output` is as it was typed: a slash at its end, which a path loses, says that it is a folder.
    """

    inputs: Inputs = None
    files_from: FilesFrom = None
    null: Null = False
    output: Output = None
    overwrite: Overwrite = False
    jobs: Jobs = None
    timeout: Timeout = None
    max_memory: MaxMemory = None
    no_resume: NoResume = False
    dry_run: DryRun = False
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS
    quiet: Quiet = False
    verbose: Verbose = 0
    log_file: LogFile = None
    config: Config = None

    @property
    def output_path(self) -> Path | None:
        """Where the results go; None: stdout."""
        return None if self.output is None else Path(self.output)

    @property
    def output_is_folder(self) -> bool:
        """Whether it was typed as a folder's name."""
        return self.output is not None and self.output.endswith(os.sep)


def takes_shared_options(command: Callable[..., int], **instead: Any) -> Callable[..., int]:
    """Return `command` for Typer: its `shared` argument becomes the options of `SharedOptions`.

    The inputs come first in the command's help, then its own options, then the shared ones.
    `instead`: how some of them are declared here, by name.
    """
    hints = get_type_hints(SharedOptions, include_extras=True) | instead
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(SharedOptions)
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.name != "shared"
    ]

    @functools.wraps(command)
    def with_shared(context: typer.Context, **values: Any) -> int:
        for name in _overruled(context, [p.name for p in own if p.name in EITHER_OR]):
            values[name] = signature.parameters[name].default
        taken = {parameter.name: values.pop(parameter.name) for parameter in shared}
        return command(shared=SharedOptions(**taken), **values)

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    ordered = [context, shared[0], *own, *shared[1:]]
    # Typer reads both: the signature for the order, the annotations for the types.
    with_shared.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    with_shared.__annotations__ = {p.name: p.annotation for p in ordered}
    return with_shared


def _overruled(context: typer.Context, names: list[str]) -> list[str]:
    """Return the options whose value comes from a weaker source than that of another one."""
    ranks = {}
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name in _SOURCES:
            ranks[name] = _SOURCES.index(source.name)
    return [name for name, rank in ranks.items() if rank > min(ranks.values())]


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models that start so, for the shell to complete."""
    from vmm_cli import bundles

    names = (model.name for model in bundles.list_bundles())
    return [name for name in names if name.startswith(incomplete)]


def check_range(start: Fraction | None, end: Fraction | None) -> None:
    """Raise UsageError where the end does not lie after the start."""
    if end is not None and end <= (start or 0):
        raise errors.UsageError(
            f"--end ({float(end):g} s) must lie after --start ({float(start or 0):g} s)"
        )


def wants_table(format: str | None) -> bool:
    """Tell whether a command that prints one document draws it for people."""
    return format == "table" or (format is None and console.stdout_is_terminal())
