"""The options that commands share, each said once.

`SharedOptions` is what every command over many inputs takes, beside what its operation declares.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vmm_cli.cli import configuration, console
from vmm_cli.engines.choice import AUTO, ENGINES
from vmm_cli.engines.choice import VARIABLE as ENGINE_VARIABLE
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.operations.options import (
    DEVICE,
    INPUT,
    NO_STORE,
    OUTPUT,
    RUN,
    Option,
)
from vmm_cli.operations.parse import (
    parse_count,
    parse_file_name,
    parse_max_pixels,
    parse_memory,
    parse_path,
    parse_positive_seconds,
)

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
        "engine",
        "max_pixels",
        "quiet",
        "verbose",
        "log_file",
    }
)


def parameter(option: Option, group: str) -> Any:
    """Return Typer's declaration of an operation's option; `group`: of the operation."""
    return typer.Option(
        *option.flags,
        metavar=option.metavar,
        parser=option.parse,
        autocompletion=option.complete,
        help=option.help,
        show_default=option.show_default,
        rich_help_panel=option.group or group,
    )


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


def _run_with(value: str) -> str:
    if value not in ENGINES:
        raise typer.BadParameter(f"{value!r} is not {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    if value != (os.environ.get(ENGINE_VARIABLE) or AUTO):
        os.environ[ENGINE_VARIABLE] = value  # which tells workers, too
    return value


def _option(*flags: str, help: str, panel: str = RUN, **more: Any) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, **more)


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Video files, or folders to search for videos.",
        rich_help_panel=INPUT,
    ),
]
_LIST = "Read more inputs from FILE, one per line; - is standard input."
FilesFrom = Annotated[
    str | None,
    _option("--files-from", metavar="FILE", parser=parse_file_name, help=_LIST, panel=INPUT),
]
_NUL = "Entries in --files-from end with NUL instead of a newline."
Null = Annotated[bool, _option("--null", "-0", help=_NUL, panel=INPUT)]
_RESULTS = "Write the results to this file. A rerun skips what is done already."
Output = Annotated[
    str | None,
    _option("--output", "-o", metavar="PATH", parser=parse_file_name, help=_RESULTS, panel=OUTPUT),
]
_JOBS = "Process N inputs in parallel [default: as many as cores and memory allow]."
Jobs = Annotated[int | None, _option("--jobs", "-j", metavar="N", parser=parse_count, help=_JOBS)]
_TIMEOUT = "Give up on an input after S seconds [default: depends on its duration]."
Timeout = Annotated[
    Fraction | None,
    _option("--timeout", metavar="S", parser=parse_positive_seconds, help=_TIMEOUT),
]
Overwrite = Annotated[
    bool, _option("--overwrite", help="Replace files that vmm did not write.", panel=OUTPUT)
]
_MEMORY = "Give up on an input that takes more memory, as 900M or 2G [default: what fits]."
MaxMemory = Annotated[
    int | None, _option("--max-memory", metavar="SIZE", parser=parse_memory, help=_MEMORY)
]
NoResume = Annotated[
    bool, _option("--no-resume", help="Redo everything, even what is done already.")
]
DryRun = Annotated[bool, _option("--dry-run", help="Only list the inputs that would be processed.")]
_PIXELS = "Refuse larger pictures, given as N or WxH [default: 8192x8192]."
MaxPixels = Annotated[
    int,
    _option("--max-pixels", show_default=False, metavar="N", parser=parse_max_pixels, help=_PIXELS),
]
Quiet = Annotated[
    bool,
    _option("--quiet", "-q", callback=_hush, help="Show no progress bar and no warnings."),
]
Verbose = Annotated[
    int,
    _option(
        *("--verbose", "-v"),
        show_default=False,
        count=True,
        callback=_hear,
        metavar="",
        help="Say more; -vv adds tracebacks.",
    ),
]
_LOG = "Append messages, with times and tracebacks, to FILE."
LogFile = Annotated[
    Path | None,
    _option("--log-file", metavar="FILE", parser=parse_path, callback=_log, help=_LOG),
]
_CONFIG = "Read defaults from FILE instead of your own configuration file."
Config = Annotated[
    Path | None,
    _option(
        "--config",
        metavar="FILE",
        parser=parse_path,
        is_eager=True,
        callback=_configure,
        help=_CONFIG,
    ),
]

# Of the commands they mean something to
Device = Annotated[str, parameter(DEVICE, RUN)]
_ENGINE = "Run networks on a CPU with auto, torch or onnxruntime [default: auto]."
Engine = Annotated[
    str,
    _option("--engine", metavar="NAME", show_default=False, callback=_run_with, help=_ENGINE),
]
NoStore = Annotated[bool, parameter(NO_STORE, RUN)]

# Of commands that print one document
DocumentFormat = Annotated[
    Literal["table", "json"] | None,
    _option(
        "--format",
        metavar="table|json",
        help="Format of the results [default: table on a terminal, else json].",
        panel=OUTPUT,
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


def wants_table(format: str | None) -> bool:
    """Tell whether a command that prints one document draws it for people."""
    return format == "table" or (format is None and console.stdout_is_terminal())
