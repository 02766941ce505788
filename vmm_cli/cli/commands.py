"""The shell's command of an operation: all of it follows from what the operation declares."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, get_type_hints

import typer

from vmm_cli import errors
from vmm_cli.cli.options import Engine, SharedOptions, parameter
from vmm_cli.cli.running import run_operation
from vmm_cli.engines.choice import AUTO
from vmm_cli.operations.operation import Operation
from vmm_cli.operations.options import OUTPUT, Option, declared

# Where a value comes from: Typer's names, the strongest first.
_SOURCES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
_SHARED = {one.name: one for one in dataclasses.fields(SharedOptions)}

AnyOperation = Operation[Any, Any, Any, Any]


def add_command(app: typer.Typer, operation: AnyOperation) -> None:
    """Make a command of an operation.

    The inputs come first in its help, then the operation's own options, then those that all
    commands over many inputs have.
    """
    required = [
        f"{option.flags[-1]} {option.metavar}"
        for _, option in declared(operation.options)
        if option.missing is not None
    ]
    usage = " ".join((*required, "[OPTIONS]"))
    app.command(operation.name, options_metavar=usage)(command_of(operation))


def command_of(operation: AnyOperation) -> Callable[..., int]:
    """Return the function that Typer makes a command of."""
    by_name = {one.name: option for one, option in declared(operation.options)}
    defaults = {one.name: one.default for one, _ in declared(operation.options)}

    def command(context: typer.Context, **values: Any) -> int:
        for name in _overruled(context, operation.either_or):
            values[name] = defaults[name]
        for name, option in by_name.items():
            if option.missing is not None and values[name] is None:
                raise errors.UsageError(option.missing)
        options = operation.options(**{name: values[name] for name in by_name})
        shared = SharedOptions(**{name: values[name] for name in _SHARED})
        try:
            return run_operation(operation, options, shared, values["format"])
        except errors.OptionError as error:
            flags = {name: option.flags[0] for name, option in by_name.items() if option.flags}
            raise errors.UsageError(error.worded(lambda name: flags.get(name, name))) from None

    # Typer reads all three: the name and the text, the signature for the order, and the types.
    parameters = _parameters(operation, by_name)
    command.__name__, command.__doc__ = operation.name, operation.help
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameters(operation: AnyOperation, by_name: Mapping[str, Option]) -> list[inspect.Parameter]:
    hints = get_type_hints(operation.options)
    shared_hints = get_type_hints(SharedOptions, include_extras=True)
    own = [
        _parameter(one.name, one.default, _annotation(option, hints[one.name], operation.group))
        for one, option in declared(operation.options)
        if one.name not in _SHARED
    ]
    if "device" in by_name:  # networks compute
        own.append(_parameter("engine", AUTO, Engine))
    shared = []
    for name, one in _SHARED.items():
        annotation = shared_hints[name]
        if name in by_name and by_name[name].flags:  # it means something else here
            annotation = _annotation(by_name[name], hints[name], operation.group)
        shared.append(_parameter(name, one.default, annotation))
    context = _parameter("context", inspect.Parameter.empty, typer.Context)
    return [context, shared[0], *own, _parameter("format", None, _format(operation)), *shared[1:]]


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _annotation(option: Option, hint: Any, group: str) -> Any:
    """Return Typer's type of an option; of what has a parser, that says it."""
    return Annotated[Any if option.parse is not None else hint, parameter(option, group)]


def _format(operation: AnyOperation) -> Any:
    names = tuple(operation.formats)
    what = "the results [default: by the suffix of -o, or table on a terminal, else jsonl]"
    if operation.fills_folder:
        what = "the records [default: table on a terminal, else jsonl]"
    return Annotated[
        Literal[names] | None,
        typer.Option(
            "--format",
            metavar="|".join(names),
            help=f"Format of {what}.",
            rich_help_panel=OUTPUT,
        ),
    ]


def _overruled(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Return the options whose value comes from a weaker source than that of another one.

    Of these the command obeys one: a flag takes the place of another one from the environment or a
    file, as it would take the place of its own value from there.
    """
    ranks = {}
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name in _SOURCES:
            ranks[name] = _SOURCES.index(source.name)
    return [name for name, rank in ranks.items() if rank > min(ranks.values())]
