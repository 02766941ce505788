"""Defaults from the user's configuration file, below flags and VMM_* variables.

The file is YAML: options that commands share at the top, a mapping for each command's own:

    jobs: 4
    no-store: true
    classify:
      top-k: 3

Only the user's own file or the one that --config (VMM_CONFIG) names is read, never one from the
folders being worked on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from vmm_cli import errors
from vmm_cli.suggest import did_you_mean

MAX_FILE_BYTES = 2**20
PATH_KEY = "vmm.configuration"  # where `apply` leaves the file's path in the context's `meta`


def user_file() -> Path:
    """Return the path of the user's own file, which need not exist."""
    import platformdirs

    return Path(platformdirs.user_config_dir("vmm")) / "config.yaml"


def environment_names(
    path: tuple[str, ...], option: str, shared: Collection[str]
) -> tuple[str, ...]:
    """Return the variables that set `option` of the command at `path`, the strongest first.

    >>> environment_names(("classify",), "jobs", {"jobs"})
    ('VMM_CLASSIFY_JOBS', 'VMM_JOBS')
    """
    names = ["_".join(("VMM", *path, option)).upper().replace("-", "_")]
    if option in shared:
        names.append(f"VMM_{option.upper()}")
    return tuple(names)


def apply(
    context: typer.Context,
    path: Path | None,
    *,
    shared: Collection[str],
    excluded: Collection[str],
) -> None:
    """Make the file's values the defaults of the command in `context`.

    `path` None is the user's own file, if there is one. UsageError for a file that cannot be read
    and for names that no option has.
    """
    if path is None:
        path = user_file()
        if not path.exists():
            return
    commands = options_of_commands(context.find_root().command, excluded)
    values = check(read(path), path, commands, shared)
    name = str(context.info_name)
    known = commands.get(name, frozenset())
    merged = {key: value for key, value in values.items() if key in shared and key in known}
    context.default_map = merged | values.get(name, {})
    context.meta[PATH_KEY] = path


def options_of_commands(root: Any, excluded: Collection[str]) -> dict[str, frozenset[str]]:
    """Return the options a file may set, by command; only commands that take --config count."""
    found = {}
    for name, command in getattr(root, "commands", {}).items():
        names = {parameter.name for parameter in command.params}
        if "config" in names:
            found[name] = frozenset(names - set(excluded))
    return found


def read(path: Path) -> Any:
    """Return what the YAML file holds. UsageError where it cannot be read."""
    from vmm_cli.plain_file import UnreadableError, read_regular
    from vmm_cli.plain_yaml import YamlError, load

    try:
        document = load(read_regular(path, MAX_FILE_BYTES))
    except UnreadableError as cause:
        raise errors.UsageError(f"the configuration {path} {cause}") from cause
    except YamlError as cause:
        raise errors.UsageError(f"{path}: not YAML: {cause}") from cause
    for key, line in document.repeated:
        raise errors.UsageError(f"{path}: line {line}: {key[:60]!r} is given a second time")
    return document.value


def check(
    values: Any, path: Path, commands: Mapping[str, Collection[str]], shared: Collection[str]
) -> dict[str, Any]:
    """Return the values by option name, each known. UsageError names the file and a near name."""
    tops = {key.replace("_", "-") for key in shared} | set(commands)
    result: dict[str, Any] = {}
    for key, value in _items(values, path, "the file"):
        if key in commands:
            own = {name.replace("_", "-") for name in commands[key]}
            result[key] = {}
            for inner, setting in _items(value, path, key):
                if inner not in own:
                    hint = did_you_mean(inner, own)
                    raise errors.UsageError(f"{path}: {key} has no option {inner!r}{hint}")
                result[key][inner.replace("-", "_")] = _scalar(setting, path, inner)
        elif key in tops:
            result[key.replace("-", "_")] = _scalar(value, path, key)
        else:
            homes = [name for name, own in commands.items() if key.replace("-", "_") in own]
            hint = f"; put it under {homes[0]}:" if homes else did_you_mean(key, tops)
            raise errors.UsageError(f"{path}: unknown option {key!r}{hint}")
    return result


def _items(values: Any, path: Path, what: str) -> Iterator[tuple[str, Any]]:
    if values is None:
        return
    if not isinstance(values, dict):
        raise errors.UsageError(f"{path}: {what} must hold 'option: value' lines")
    for key, value in values.items():
        # `null:`, `no:` and `4:` are no strings in YAML; shown as written they name no option.
        yield str(key).replace("_", "-"), value


def _scalar(value: Any, path: Path, key: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise errors.UsageError(f"{path}: {key} {value} is no finite number")
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    raise errors.UsageError(f"{path}: {key} must be one value")
