"""What is done to each input, and how an input is looked at before: in a worker, as all is."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.batch.device import Stage
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Known, Record
from vmm_cli.batch.memory import MemoryLimit
from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity, file_identity

# The parent, which runs this module too, needs no decoder.
if TYPE_CHECKING:
    from vmm_cli.media.extent import Extent

# Opening a file and planning reads its header, or all packets of one whose time stamps may start
# anew: 100 GB at 100 MB/s. More means a demuxer that does not come back.
PREPARE_LIMIT_S = 1000.0
# The default limit: slow machines decode 4K at a tenth of real time; small files need start-up.
LIMIT_BASE_S = 120.0
LIMIT_PER_SECOND = 20.0
# Where no duration is declared it is taken from the size at a very low bit rate.
LOW_BYTES_PER_SECOND = 20_000
LONGEST_S = 48 * 3600.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to each input. All functions are at module level: they run in workers.

    run(request, input, part) does one part (None: all of the input); finish(request, input,
    results) makes the record's own fields of the results of all parts; plan(request, input,
    workers) may split an input, None for work that is never split. With `stage` parts are done as
    it says, on a device that one process owns, and `run` does what needs no device.

    For work that writes files of its own, two more: kept(request, input) tells whether what an
    earlier run wrote is still there; tidy(request), called by the parent while it holds the output,
    removes what unfinished work left behind, here or in a run that was killed. `folders`: each
    input fills a folder of the output, which its record names.
    """

    run: Callable[[Any, Input, Any], Any]
    finish: Callable[[Any, Input, list[Any]], Record]
    plan: Callable[[Any, Input, int], list[Any]] | None = None
    kept: Callable[[Any, Input], bool] | None = None
    tidy: Callable[[Any], None] | None = None
    stage: Stage | None = None
    folders: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
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
    parts: list[Any]
    about: Record = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    known: bytes = b""


@dataclass(frozen=True, slots=True)
class Look:
    """How to look at an input before work; see `execute`."""

    work: Work
    request: Any
    spare: int
    timeout_s: float | None
    memory: MemoryLimit
    max_pixels: int


def are_done(look: Look, candidates: Sequence[tuple[Input, Known]]) -> list[bool]:
    """Tell of each input whether an earlier run has done it, as far as nothing is wrong with it."""
    return [_is_done(look, input, known) for input, known in candidates]


def _is_done(look: Look, input: Input, known: Known) -> bool:
    try:
        identity = _identity(input, known)
    except InputError:
        return False
    kept = look.work.kept
    return known.done == identity and (kept is None or kept(look.request, input))


def _identity(input: Input, known: Known) -> FileIdentity:
    """Return which file an input is; InputError where its results would meet those of another."""
    from vmm_cli.media.source import check_regular_file

    check_regular_file(input.path)
    identity = file_identity(input.path)
    if known.holder is not None and known.holder_is != identity:
        raise InputError(
            "collision",
            f"the output has frames of {known.holder} under the same name, {input.output_name}; "
            "choose another -o",
        )
    return identity


def prepare(look: Look, input: Input, known: Known) -> Prepared:
    """Look at an input before work: how long may it take, is it to be split."""
    work, request = look.work, look.request
    identity = _identity(input, known)
    known_extent = _extent(input.path, look.max_pixels)
    duration_s = None if known_extent is None else float(known_extent.end_s) or None
    limit_s = look.timeout_s
    if limit_s is None:
        seconds = identity.size / LOW_BYTES_PER_SECOND if duration_s is None else duration_s
        limit_s = min(LONGEST_S, LIMIT_BASE_S + LIMIT_PER_SECOND * seconds)
    if work.stage is not None:
        parts = work.stage.plan(request, input, look.spare)
    else:
        may_split = work.plan is not None and look.spare > 1
        parts = work.plan(request, input, look.spare) if work.plan and may_split else []
    if known_extent is None:  # the work itself says what is wrong
        return Prepared(identity, limit_s, look.memory.usual, None, parts)
    memory_bytes = look.memory.over(known_extent.pixels, known_extent.bits)
    about, warnings = known_extent.fields(), tuple(known_extent.warnings())
    pickled = pickle.dumps(known_extent)
    return Prepared(identity, limit_s, memory_bytes, duration_s, parts, about, warnings, pickled)


@dataclass(frozen=True, slots=True)
class Informed:
    """What a step of the work gave, and which stretches of pictures it could not decode."""

    value: Any
    gaps: tuple[tuple[float, float], ...]


def informed(path: Path, known: bytes, function: Callable[..., Any], *args: Any) -> Informed:
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
