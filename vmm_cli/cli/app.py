"""Assembles the commands and turns every way they can end into an exit code."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

import vmm_cli
from vmm_cli import errors
from vmm_cli.cli import cache, configuration, console, doctor, evaluate, export, help, models, train
from vmm_cli.cli.commands import AnyOperation, add_command
from vmm_cli.cli.options import COMMAND_LINE_ONLY, SHARED_NAMES
from vmm_cli.operations.classify import CLASSIFY
from vmm_cli.operations.detect_actions import DETECT_ACTIONS
from vmm_cli.operations.detect_objects import DETECT_OBJECTS
from vmm_cli.operations.extract_frames import EXTRACT_FRAMES
from vmm_cli.operations.info import INFO
from vmm_cli.operations.sentiment import SENTIMENT
from vmm_cli.operations.transcribe import TRANSCRIBE
from vmm_cli.suggest import did_you_mean

EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
# What to do where the system refuses a path, by the number of its error.
_ADVICE = {
    errno.EACCES: "have its owner give you access, or name another one",
    errno.EPERM: "have its owner give you access, or name another one",
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "it is a link that leads to itself; name a real file or folder",
    errno.ENOTDIR: "a part of it is no folder; check the path",
}
# In the order of the help; what is inside a file stands further down.
OPERATIONS: tuple[AnyOperation, ...] = (
    EXTRACT_FRAMES,
    CLASSIFY,
    DETECT_OBJECTS,
    DETECT_ACTIONS,
    TRANSCRIBE,
    SENTIMENT,
)
MAX_NAME_SHOWN = 200  # characters

OWNERS_NAMED = 3  # commands that have an option which another one was given
_UNKNOWN_COMMAND = re.compile(r"No such command '(.*)'\.", re.DOTALL)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vmm {vmm_cli.__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
) -> None:
    """Make sense of folders of videos: frames, labels and timelines from the shell."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(EXIT_USAGE)


def build(more: Sequence[AnyOperation] = ()) -> Any:
    """Return the whole command line as Typer's command object.

    `more`: operations of others, as further commands.
    """
    app = typer.Typer(
        name="vmm",
        suggest_commands=False,  # it guesses from afar: see `_right_group`
        rich_markup_mode=None,  # plain help: no rich to import, no boxes to break in narrow windows
        pretty_exceptions_enable=False,
        context_settings={
            "help_option_names": ["-h", "--help"],
            # Typer's own choice never goes below 50 columns, which wraps twice in a narrow window.
            "terminal_width": min(max(shutil.get_terminal_size().columns, 30), 100) - 2,
        },
    )
    app.callback(invoke_without_command=True)(_root)
    for operation in OPERATIONS:
        add_command(app, operation)
    app.command("train", options_metavar="-o RUN [OPTIONS]")(train.train)
    app.command("evaluate")(evaluate.evaluate)
    app.command("export", options_metavar="-o DIR [OPTIONS]")(export.export)
    for operation in (INFO, *more):
        add_command(app, operation)
    app.add_typer(models.app, name="models")
    app.command("doctor")(doctor.doctor)
    app.add_typer(cache.app, name="cache")
    command = get_command(app)
    _name_environment(command, ())
    help.dress(command, examples(more))
    return command


def examples(more: Sequence[AnyOperation] = ()) -> help.Examples:
    """Return how each command is called, by the words that lead to it."""
    return help.EXAMPLES | {(one.name,): one.examples for one in (*OPERATIONS, INFO, *more)}


def _name_environment(command: Any, path: tuple[str, ...]) -> None:
    for parameter in command.params if path else ():
        if parameter.param_type_name == "option" and parameter.name not in COMMAND_LINE_ONLY:
            parameter.envvar = configuration.environment_names(path, parameter.name, SHARED_NAMES)
        elif parameter.name == "config":
            parameter.envvar = "VMM_CONFIG"
        if parameter.param_type_name == "option":
            parameter.show_envvar = False  # docs/cli.md lists them; here they hide the help
    for name, inner in getattr(command, "commands", {}).items():
        _name_environment(inner, (*path, name))


def run(argv: Sequence[str], more: Sequence[AnyOperation] = ()) -> int:
    """Run the command line `argv` (without the program's name) and return its exit code.

    `more`: operations of others, as further commands.
    """
    try:
        return _run(argv, more)
    except console.StdoutClosed:
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except errors.VmmError as error:
        console.error(str(error))
        console.details(console.traceback_of(error))
        return error.exit_code
    except typer.TyperException as error:
        _usage_error(error, argv)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and (refused := _refused_by_system(error)) is not None:
            console.error(refused)
            console.details(console.traceback_of(error))
            return EXIT_INTERNAL
        console.error(
            f"internal error: {type(error).__name__}: {' '.join(str(error).split())}"
            + ("" if console.settings.verbosity >= 2 else "; run again with -vv for the traceback")
        )
        console.details(console.traceback_of(error))
        return EXIT_INTERNAL


def _refused_by_system(error: OSError) -> str | None:
    """Return what is said where the system does not let a user have what was named; or None."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open at once; raise the limit: ulimit -n"
    advice = _ADVICE.get(error.errno or 0)
    if advice is None or error.filename is None:
        return None
    name = os.fsdecode(error.filename)
    shown = name if len(name) <= MAX_NAME_SHOWN else f"{name[:MAX_NAME_SHOWN]}…"
    return f"{shown}: {os.strerror(error.errno or 0)}; {advice}"


def _run(argv: Sequence[str], more: Sequence[AnyOperation]) -> int:
    try:
        with console.guarded_stdout():
            code = build(more).main(args=list(argv), prog_name="vmm", standalone_mode=False)
    except SystemExit as error:  # shell completion ends with its own code
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return code if isinstance(code, int) else 0


def _usage_error(error: typer.TyperException, argv: Sequence[str]) -> None:
    """Say in one line what is wrong with the command line, and in another where to look."""
    context = getattr(error, "ctx", None)
    parameter = getattr(error, "param", None)
    option = getattr(error, "option_name", None)
    message = error.format_message().strip()
    if context is None:
        console.error(_sentence(message))
        console.error(f"see `{_command_named(argv)} --help`")
        return
    if option is not None and hasattr(error, "possibilities"):
        message = f"no such option {option!r}{_right_place(option, context, argv)}"
    elif (unknown := _UNKNOWN_COMMAND.fullmatch(message)) is not None:
        message = f"no such command {unknown[1]!r}{_right_group(unknown[1], context.command)}"
    elif parameter is not None and error.message:
        message = f"{_origin(context, parameter)}: {_sentence(error.message)}"
    console.error(_sentence(message))
    console.error(f"see `{context.command_path} --help`")


def _right_place(option: str, context: typer.Context, argv: Sequence[str]) -> str:
    """Return a hint for an option that the command does not have: who has it, or one like it."""
    command = context.command
    owners = [
        " ".join(("vmm", *path))
        for path, inner in _commands(context.find_root().command)
        if any(option in parameter.opts for parameter in inner.params)
    ]
    if owners and hasattr(command, "commands"):
        meant = [owner for owner in owners if owner.split()[-1] in argv] or owners
        return f"; options of a command follow it: {meant[0]} {option}"
    if owners:
        more = f" and {len(owners) - OWNERS_NAMED} more" if len(owners) > OWNERS_NAMED else ""
        return f"; it is an option of {', '.join(owners[:OWNERS_NAMED])}{more}"
    return did_you_mean(option, [name for param in command.params for name in param.opts])


def _right_group(name: str, group: Any) -> str:
    """Return a hint for a command that a group does not have: where it is, or one like it."""
    near = did_you_mean(name, group.commands)
    inside = [f"vmm {' '.join(path)}" for path, _ in _commands(group) if path[-1:] == (name,)]
    return near or (f"; did you mean '{inside[0]}'?" if inside else "")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and those in it, with the words that lead to each."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _command_named(argv: Sequence[str]) -> str:
    """Return the command that a command line begins with, as it is typed."""
    command: Any = build()
    words = ["vmm"]
    for word in argv:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            break
        command = inner
        words.append(word)
    return " ".join(words)


def _origin(context: typer.Context, parameter: Any) -> str:
    """Return what set `parameter`: its flag, a variable, or a line of the configuration file."""
    source = context.get_parameter_source(parameter.name)
    name = "" if source is None else source.name
    if name == "ENVIRONMENT":
        set_by = parameter.envvar
        names: Sequence[str] = [set_by] if isinstance(set_by, str) else set_by
        return next((variable for variable in names if os.environ.get(variable)), names[0])
    if name == "DEFAULT_MAP":
        key = parameter.name.replace("_", "-")
        return f"{context.meta.get(configuration.PATH_KEY)}: {key}"
    flags = [option for option in parameter.opts if option.startswith("--")]
    return flags[0] if flags else str(parameter.metavar or parameter.name)


def _sentence(message: str) -> str:
    """Return Typer's or pydantic's message in the form of ours: one line, no capital, no stop."""
    message = message.removeprefix("Value error, ").replace(". Did you mean", "; did you mean")
    message = " ".join(message.split()).rstrip(".")
    return message[:1].lower() + message[1:] if message[1:2].islower() else message
