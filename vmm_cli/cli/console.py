"""What is said to the user: messages and progress on stderr, a log file, and stdout for results.

Whatever is printed as a message is escaped first: file names and titles are other people's words.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

from vmm_cli import errors
from vmm_cli.output.escape import escape_controls

_LOG_HEAD_BYTES = 4096
# What is printed one after the other comes without the bar in between.
ASIDE_S = 0.3


class StdoutClosed(Exception):
    """The reader of standard output is gone (`vmm ... | head`): nothing is left to say."""


@dataclass
class Settings:
    """How much is said; the options -q, -v and --log-file set it."""

    quiet: bool = False
    verbosity: int = 0
    log: TextIO | None = None
    log_path: Path | None = None
    above_progress: Callable[[str], None] | None = None  # set while a progress bar is drawn


settings = Settings()


def error(message: str) -> None:
    """Say what went wrong."""
    _say("error", message, heard=True)


def failure(message: str) -> None:
    """Say in one line that one input failed."""
    _say("failed", message, heard=True)


def warning(message: str) -> None:
    """Say what may surprise; -q silences it."""
    _say("warning", message, heard=not settings.quiet)


def info(message: str) -> None:
    """Say what goes on, with -v."""
    _say("info", message, heard=settings.verbosity >= 1)


def closing(message: str) -> None:
    """Say at the end what came of it: at a terminal, and with -v."""
    remark(message)


def remark(message: str) -> None:
    """Say what a person should know, and a job's log need not: at a terminal, and with -v."""
    at_terminal = _is_terminal(sys.stderr) and not settings.quiet
    _say("info", message, heard=at_terminal or settings.verbosity >= 1)


def details(text: str) -> None:
    """Say a traceback, line by line, with -vv; the log file has it anyway."""
    for line in text.rstrip("\n").split("\n"):
        _say("debug", line, heard=settings.verbosity >= 2)


def traceback_of(exception: BaseException) -> str:
    """Return the whole traceback as text."""
    return "".join(traceback.format_exception(exception))


def _say(level: str, message: str, *, heard: bool) -> None:
    line = escape_controls(message)
    if settings.log is not None:
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError):  # a full disk must not end the work it would log
            settings.log.write(f"{now} {level} {line}\n")
            settings.log.flush()
    if not heard:
        return
    if settings.above_progress is not None:
        settings.above_progress(line)
        return
    with contextlib.suppress(OSError, ValueError):  # stderr closed: there is nobody to tell
        print(line, file=sys.stderr, flush=True)


def open_log(path: Path) -> None:
    """Append what is said from now on to `path` too.

    OutputError where that cannot be written, or is no text: a video, named there by mistake.
    """
    try:
        if path.is_file():
            with path.open("rb") as before:
                if b"\0" in before.read(_LOG_HEAD_BYTES):
                    raise errors.OutputError(f"{path}: is not a text file; choose another log file")
        settings.log = path.open("a", encoding="utf-8", errors="backslashreplace")
        settings.log_path = path
    except OSError as cause:
        why = cause.strerror if path.parent.is_dir() else f"no folder {path.parent}; make it first"
        raise errors.OutputError(f"{path}: cannot write the log: {why}") from cause


def refuse_log_at(name: str | Path | None, option: str) -> None:
    """Raise UsageError where the log goes to a file that an option names too."""
    log = settings.log_path
    if name is not None and log is not None and Path(name).exists() and log.samefile(name):
        raise errors.UsageError(f"{log}: --log-file and {option} name the same file")


class Progress:
    """A bar that may not be there: each function may be called either way."""

    def __init__(self, bar: Any = None, terminal: Any = None) -> None:
        self._bar = bar
        self._terminal = terminal
        self._task = None if bar is None else bar.add_task("", total=None)
        self._is_drawn = False
        self._aside_since = 0.0

    def update(self, done: float, total: float | None, what: str = "") -> None:
        """Show `done` of `total`, None where nobody knows, and a word on what is being done."""
        if self._bar is not None:
            words = escape_controls(what)
            self._bar.update(self._task, completed=done, total=total, description=words)
            if not self._is_drawn and time.monotonic() - self._aside_since >= ASIDE_S:
                self.draw()

    def draw(self) -> None:
        """Draw the bar, and messages above it."""
        from rich.text import Text

        if self._bar is not None:
            self._is_drawn = True
            self._bar.start()
            settings.above_progress = lambda line: self._terminal.print(Text(line), soft_wrap=True)

    def clear(self) -> None:
        """Remove the bar."""
        settings.above_progress = None
        if self._bar is not None and self._is_drawn:
            self._is_drawn = False
            self._bar.stop()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Keep the bar away while something else is printed to its terminal, and a moment on."""
        self.clear()
        self._aside_since = time.monotonic()
        yield


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Draw a progress bar where stderr is a terminal and -q was not given.

    Numbers are said by the words beside it: see `standing.Bar`.
    """
    if settings.quiet or not _is_terminal(sys.stderr):
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    terminal = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    bar = Bar(
        BarColumn(bar_width=None),
        TextColumn("{task.description}", markup=False),
        console=terminal,
        transient=True,
        redirect_stdout=False,  # results are for stdout, whatever it is
        redirect_stderr=False,
    )
    drawn = Progress(bar, terminal)
    drawn.draw()
    try:
        yield drawn
    finally:
        drawn.clear()


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def stdout_is_terminal() -> bool:
    """Tell whether results would be read by a person."""
    return _is_terminal(sys.stdout)


class Stdout:
    """Standard output whose failures are named: StdoutClosed, or OutputError (a full disk).

    `stream` None is one that was closed before the command began: it fails when it is written to.
    """

    obeys_columns = True  # COLUMNS says how wide it is where it is no terminal

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.errors = "backslashreplace"

    @property
    def encoding(self) -> str:
        """The encoding of what is written."""
        return "utf-8" if self.stream is None else self.stream.encoding

    def write(self, text: str) -> int:
        """Write `text` and return its length."""
        if text == "":  # with which Typer finds out what kind of stream this is, deaf to failures
            return 0
        if self.stream is None:
            raise errors.OutputError("standard output is closed; open it, or give -o FILE")
        with _named_failures():
            return self.stream.write(text)

    def flush(self) -> None:
        """Hand everything to the reader."""
        if self.stream is not None:
            with _named_failures():
                self.stream.flush()

    def isatty(self) -> bool:
        """Tell whether a person reads."""
        return _is_terminal(self.stream)

    def fileno(self) -> int:
        """Return the file descriptor."""
        if self.stream is None:
            raise OSError("standard output is closed")
        return self.stream.fileno()


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Have whatever is printed meanwhile, also by Typer, fail as `Stdout` says."""
    guarded = Stdout(sys.stdout)
    with contextlib.redirect_stdout(cast(TextIO, guarded)):
        try:
            yield
        finally:
            guarded.flush()


def stdout(*, data: bool) -> TextIO:
    """Return standard output for results; `data`: for a program, so UTF-8 whatever the locale.

    Writing raises StdoutClosed where nobody reads any more, OutputError where it is not writable.
    """
    guarded = sys.stdout if isinstance(sys.stdout, Stdout) else Stdout(sys.stdout)
    if isinstance(guarded.stream, io.TextIOWrapper):
        encoding = "utf-8" if data else guarded.encoding
        guarded.stream.reconfigure(encoding=encoding, errors="backslashreplace", newline="\n")
    return cast(TextIO, guarded)


@contextlib.contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as cause:
        forget_stdout()
        raise StdoutClosed from cause
    except OSError as cause:
        forget_stdout()
        raise errors.OutputError(
            f"cannot write to standard output: {cause.strerror}; what was printed so far is cut"
        ) from cause


def forget_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter flushes it when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
