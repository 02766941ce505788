"""How an operation declares its options: the fields of a frozen dataclass, each said once.

Of such a class come the parameters of the shell, the keys of the configuration file, the variables,
the help and docs/cli.md, and what a record depends on. Nothing here knows the shell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vmm_cli.errors import OptionError
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.operations.parse import parse_device, parse_time

INPUT, OUTPUT, RUN = "Input", "Output", "Run"  # groups that most commands have

_KEY = "option"  # of what is declared, in a field's metadata


def as_json(value: object) -> object:
    """Return an option's value as JSON types: exact numbers and paths as text."""
    if isinstance(value, Fraction | Path):
        return str(value)
    return [*map(as_json, value)] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Option:
    """What is said of an option beside its name, type and default.

    Attributes:
        flags: how it is given in a shell; none: as the option of this name that all commands have.
        metavar: what stands for its value in the help; parse: makes the value of a word.
        group: under which it stands in the help; None: that of its operation.
        missing: what is said where it is not given; None: it may be left out.
        counts: whether records depend on it, so that they are made again where it changes. What is
            added to a command later counts when "given": what was done before stays done.
        writes: it says where files go, or which may be replaced: for the shell alone.
        key, as_json: what it is called, and how it is written, in what a record depends on.
    """

    flags: tuple[str, ...]
    help: str = ""
    group: str | None = None
    metavar: str | None = None
    parse: Callable[[object], object] | None = None
    complete: Callable[[str], list[str]] | None = None
    show_default: bool = False
    missing: str | None = None
    counts: Literal["always", "given", "never"] = "always"
    writes: bool = False
    key: str | None = None
    as_json: Callable[[Any], object] = as_json


def option(*flags: str, default: Any = None, **declared: Any) -> Any:
    """Declare an option, as the default of a dataclass's field: see `Option`."""
    return field(default=default, metadata={_KEY: Option(flags, **declared)})


def declared(options: type | object) -> Iterator[tuple[Field[Any], Option]]:
    """Yield the fields of a class of options, or of one of its instances, with what is declared."""
    for one in fields(options):  # type: ignore[arg-type]  # a dataclass: nothing says so
        yield one, one.metadata[_KEY]


def counted(options: object) -> dict[str, object]:
    """Return what a record depends on besides its file and its model, as JSON types."""
    return {
        declaration.key or one.name: declaration.as_json(getattr(options, one.name))
        for one, declaration in declared(options)
        if declaration.counts == "always"
        or (declaration.counts == "given" and getattr(options, one.name) != one.default)
    }


def check(options: object, either_or: Sequence[str] = ()) -> None:
    """Raise OptionError where options contradict each other: start and end, or several of some.

    `either_or`: the names of those of which one may be given. What one option says alone its parser
    has checked, in a shell.
    """
    given = [
        f"{{{one.name}}}"
        for one, _ in declared(options)
        if one.name in either_or and getattr(options, one.name) != one.default
    ]
    if len(given) > 1:
        raise OptionError(f"{' and '.join(given)} contradict each other; give only one of them")
    start, end = getattr(options, "start", Fraction(0)), getattr(options, "end", None)
    if start < 0:
        raise OptionError("{start} {at_s:g} lies before the start of the video", at_s=float(start))
    if end is not None and end <= start:
        raise OptionError(
            "{end} ({last_s:g} s) must lie after {start} ({first_s:g} s)",
            last_s=float(end),
            first_s=float(start),
        )


# --- options of several operations --------------------------------------------------------------


def start_option() -> Any:
    """Declare where the wanted part of a video begins."""
    return option(
        "--start",
        default=Fraction(0),
        metavar="TIME",
        parse=parse_time,
        help="Start here: seconds or [HH:]MM:SS[.mmm].",
        group=INPUT,
    )


def end_option() -> Any:
    """Declare where the wanted part of a video ends; None: where the video does."""
    return option(
        "--end",
        metavar="TIME",
        parse=parse_time,
        help="Stop here: seconds or [HH:]MM:SS[.mmm].",
        group=INPUT,
        as_json=str,
    )


def max_pixels_option(counts: Literal["always", "never"] = "always") -> Any:
    """Declare that pictures of more pixels are refused; the shell has this for all commands."""
    return option(default=DEFAULT_MAX_PIXELS, counts=counts)


def overwrite_option() -> Any:
    """Declare whether files may be replaced that vmm did not write; the shell has it for all."""
    return option(default=False, counts="never", writes=True)


DEVICE = Option(
    ("--device",),
    "Compute on auto, cpu or cuda[:N] [default: auto].",
    RUN,
    "NAME",
    parse_device,
    counts="never",
)
NO_STORE = Option(
    ("--no-store",),
    "Do not use the feature store, which keeps computed features.",
    RUN,
    counts="never",
)


def device_option() -> Any:
    """Declare what is computed on."""
    return field(default="auto", metadata={_KEY: DEVICE})


def no_store_option() -> Any:
    """Declare that the feature store is left alone."""
    return field(default=False, metadata={_KEY: NO_STORE})


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models that start so, for a shell to complete."""
    from vmm_cli import bundles

    names = (model.name for model in bundles.list_bundles())
    return [name for name in names if name.startswith(incomplete)]
