"""What is done to each input, and how an input is looked at before: in a worker, as all is."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from vmm_cli.batch.executor import Device
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Known, Owned, Record
from vmm_cli.batch.memory import NO_LIMIT, MemoryLimit
from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity, file_identity

# The parent, which runs this module too, needs no decoder.
if TYPE_CHECKING:
    from vmm_cli.media.extent import Extent

Job = TypeVar("Job")  # what is wanted of every input
Part = TypeVar("Part")  # what an input may be split into
Result = TypeVar("Result")  # what comes of a part
Value = TypeVar("Value")

# Opening a file and planning reads its header, or all packets of one whose time stamps may start
# anew: 100 GB at 100 MB/s. More means a demuxer that does not come back.
PREPARE_LIMIT_S = 1000.0
# The default limit: slow machines decode 4K at a tenth of real time; small files need start-up.
LIMIT_BASE_S = 120.0
LIMIT_PER_SECOND = 20.0
# Where no duration is declared it is taken from the size at a very low bit rate.
LOW_BYTES_PER_SECOND = 20_000
LONGEST_S = 48 * 3600.0


class Found(Protocol):
    """What was found out about an input."""

    def to_record(self) -> Record:
        """Return the record's own fields, as JSON types."""


class Beside(Protocol):
    """Makes a file of each record too, in a folder of the user's: see `vmm_cli.output.pictured`."""

    @property
    def what(self) -> str:
        """What they hold, in a word."""

    @property
    def folder(self) -> Path:
        """Where the files go."""

    def refuse_foreign(self, inputs: Sequence[Input], /) -> None:
        """Raise UsageError where a file would take the place of what is not vmm's."""

    def is_kept(self, input: Input, /) -> bool:
        """Tell whether the file of an earlier run is still there."""

    def knows(self) -> Callable[[Path], bool]:
        """Return what tells whether an earlier run made a file, which is no input then."""

    def make(self, input: Input, job: Any, record: Record, /) -> None:
        """Make the file of a record, which may lose what only the file needs, and name it there.

        Raises:
            InputError: the video cannot be read any more, or something else stands there.
            OutputError: the file cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Work(Generic[Job, Part, Result]):
    """What is done to each input. All functions are at module level: they run in workers.

    `job` is what is wanted of every input; each function is given it. run(job, input, part) does
    one part (None: all of the input); finish(job, input, results) sums up what came of all
    parts; plan(job, input, workers) may split an input, None for work that is never split. Networks
    compute on `device`, which one process owns; None: in the workers.

    For work that writes files of its own, two more: kept(job, input) tells whether what an
    earlier run wrote is still there; tidy(job), called by the parent while it holds the output,
    removes what unfinished work left behind, here or in a run that was killed. `owned`: what
    each input has of the output for itself. `beside`: what makes files of each record, in turn.
    """

    job: Job
    run: Callable[[Job, Input, Part | None], Result]
    finish: Callable[[Job, Input, Sequence[Result]], Found]
    plan: Callable[[Job, Input, int], Sequence[Part | None]] | None = None
    kept: Callable[[Job, Input], bool] | None = None
    tidy: Callable[[Job], None] | None = None
    device: Device | None = None
    owned: Owned | None = None
    beside: tuple[Beside, ...] = ()


def run_part(work: Work[Job, Part, Result], input: Input, part: Part | None) -> Result:
    """Do one part of an input."""
    return work.run(work.job, input, part)


def finished(work: Work[Job, Part, Result], input: Input, results: Sequence[Result]) -> Record:
    """Return an input's record of what came of its parts, once the files of it are made."""
    record = work.finish(work.job, input, results).to_record()
    for one in work.beside:
        one.make(input, work.job, record)
    return record


def run_whole(work: Work[Job, Part, Result], input: Input, part: Part | None) -> Record:
    """Do all of an input at once, and return its record."""
    return finished(work, input, [run_part(work, input, part)])


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Part]):
    """What there is to know of an input before work.

    Attributes:
        limit_s: how long each step of the work may take, in seconds.
        memory_bytes: how much memory a worker may take over it; None: any.
        duration_s: how far it goes; None: that is not known.
        about: what its record says of the file itself, whatever the command; see `Extent.fields`.
        warnings: what its record warns of, before what the command does.
        known: how far it goes, for the workers; pickled, since the parent needs no decoder.
        parts: those it is split into; empty where it is not.
    """

    identity: FileIdentity
    limit_s: float
    memory_bytes: int | None
    duration_s: float | None
    parts: Sequence[Part | None]
    about: Record = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    known: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an input may take.

    Attributes:
        max_pixels: of a picture; an input with larger ones is refused.
        timeout_s: how long each step of the work may take, in seconds; None: by its duration.
        memory: how much memory a worker may take over it.
    """

    max_pixels: int
    timeout_s: float | None = None
    memory: MemoryLimit = NO_LIMIT


@dataclass(frozen=True, slots=True)
class Look(Generic[Job, Part, Result]):
    """How to look at an input before work; `spare`: how many workers one input may have."""

    work: Work[Job, Part, Result]
    spare: int
    limits: Limits


def are_done(
    look: Look[Job, Part, Result], candidates: Sequence[tuple[Input, Known]]
) -> list[bool]:
    """Tell of each input whether an earlier run has done it, as far as nothing is wrong with it."""
    return [_is_done(look, input, known) for input, known in candidates]


def _is_done(look: Look[Job, Part, Result], input: Input, known: Known) -> bool:
    try:
        identity = _identity(look.work.owned, input, known)
    except InputError:
        return False
    work = look.work
    return (
        known.done == identity
        and (work.kept is None or work.kept(work.job, input))
        and all(one.is_kept(input) for one in work.beside)
    )


def _identity(owned: Owned | None, input: Input, known: Known) -> FileIdentity:
    """Return which file an input is; InputError where its results would meet those of another."""
    from vmm_cli.media.source import check_regular_file

    check_regular_file(input.path)
    identity = file_identity(input.path)
    if owned is not None and known.holder is not None and known.holder_is != identity:
        raise InputError(
            "collision",
            f"the output has {owned.what} of {known.holder} under the same name, "
            f"{input.output_name}; choose another -o",
        )
    return identity


def prepare(look: Look[Job, Part, Result], input: Input, known: Known) -> Prepared[Part]:
    """Look at an input before work: how long may it take, is it to be split."""
    work, limits = look.work, look.limits
    identity = _identity(work.owned, input, known)
    known_extent = _extent(input.path, limits.max_pixels)
    duration_s = None if known_extent is None else float(known_extent.end_s) or None
    limit_s = limits.timeout_s
    if limit_s is None:
        seconds = identity.size / LOW_BYTES_PER_SECOND if duration_s is None else duration_s
        limit_s = min(LONGEST_S, LIMIT_BASE_S + LIMIT_PER_SECOND * seconds)
    parts: Sequence[Part | None] = ()
    if work.plan is not None and look.spare > 1:
        parts = work.plan(work.job, input, look.spare)
    if known_extent is None:  # the work itself says what is wrong
        return Prepared(identity, limit_s, limits.memory.usual, None, parts)
    memory_bytes = limits.memory.over(known_extent.pixels, known_extent.bits)
    about, warnings = known_extent.fields(), tuple(known_extent.warnings())
    pickled = pickle.dumps(known_extent)
    return Prepared(identity, limit_s, memory_bytes, duration_s, parts, about, warnings, pickled)


@dataclass(frozen=True, slots=True)
class Informed(Generic[Value]):
    """What a step of the work gave, and which stretches of pictures it could not decode."""

    value: Value
    gaps: tuple[tuple[float, float], ...]


def informed(
    path: Path, known: bytes, function: Callable[..., Value], *args: Any
) -> Informed[Value]:
    """Do a step of the work on a file, knowing what was found out of it before.

    `known`: as `Prepared` has it; it may have been found by another worker.
    """
    from vmm_cli.media import damage
    from vmm_cli.media.extent import remember

    if known:
        remember(path, pickle.loads(known))
    damage.noted(path)  # of a step that was cut short
    return Informed(function(*args), damage.noted(path))


def _extent(path: Path, max_pixels: int) -> Extent | None:
    from vmm_cli.media.extent import extent

    try:
        return extent(path, max_pixels=max_pixels)
    except InputError:
        return None
