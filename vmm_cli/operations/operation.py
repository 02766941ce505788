"""What a command over videos is, said once: the shell makes the command of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmm_cli.batch.work import Job, Part, Result, Work
from vmm_cli.output.formats import FORMATS, Format, Shown

Options = TypeVar("Options")

# What to do, in a few words, and the command for it.
Example = tuple[str, str]


@dataclass(frozen=True)
class Prepared(Generic[Options, Job, Part, Result]):
    """What an operation makes of its options, once for all inputs.

    Attributes:
        options: as they were given, with what the model settles.
        memory_bytes: what one worker takes.
        model_digest: of all models that records depend on.
        earlier: what earlier versions said that such records depend on, where that was something
            else: what they have done is not done again.
        remarks, warnings: what is said once, before the work.
        takes_stills: where folders hold no video, their pictures are the inputs.
        takes_sound: where they hold neither, their files of sound are.
    """

    options: Options
    work: Work[Job, Part, Result]
    memory_bytes: int
    model_digest: str | None = None
    earlier: Mapping[str, object] | None = None
    remarks: Sequence[str] = ()
    warnings: Sequence[str] = ()
    takes_stills: bool = False
    takes_sound: bool = False


@dataclass(frozen=True)
class Operation(Generic[Options, Job, Part, Result]):
    """A command over videos.

    Attributes:
        name: of the command; schema: of its records.
        help: what it does: a line, then perhaps more.
        examples: two calls of it, for the end of the help.
        options: a frozen dataclass whose fields are declared by `option`.
        group: under which the command's own options stand in the help.
        either_or: the names of options of which one is obeyed.
        prepare: checks the options against each other and the model, and says what is to be done.
            Raises UsageError and what loading a model raises.
        shown: how the records of a job are shown.
        formats: those that the records can be written in, by name.
        fills_folder: the output is a folder that the work itself fills, each input under its own
            name; else it is the file that the records go to.
    """

    name: str
    schema: str
    help: str
    examples: tuple[Example, Example]
    options: type[Options]
    group: str
    prepare: Callable[[Options], Prepared[Options, Job, Part, Result]]
    shown: Callable[[Job], Shown]
    formats: Mapping[str, Format]
    fills_folder: bool = False
    either_or: Sequence[str] = ()


def formats(*names: str) -> Mapping[str, Format]:
    """Return some of the formats that records can be written in."""
    return {name: FORMATS[name] for name in names}
