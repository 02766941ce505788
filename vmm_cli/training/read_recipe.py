"""Recipes are short YAML files: they are read and checked here.

What a recipe does not say has a default. Nothing here loads torch: the names of front ends are
repeated, and a test holds them against the networks themselves.
"""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from vmm_cli.errors import RecipeError
from vmm_cli.features import catalogue
from vmm_cli.features.encoder import OF_FEATURES
from vmm_cli.features.grid import MAX_STEPS
from vmm_cli.plain_file import UnreadableError, read_regular
from vmm_cli.plain_yaml import YamlError
from vmm_cli.plain_yaml import load as load_yaml
from vmm_cli.suggest import did_you_mean
from vmm_cli.training.recipe import (
    FUSION,
    LIMITED_TEMPORAL,
    TEMPORAL,
    Optimisation,
    Recipe,
    StreamRecipe,
    Usual,
)
from vmm_cli.training.recipe_limits import no_probe, only_for_others
from vmm_cli.training.tasks.catalogue import heads, task_of
from vmm_cli.training.tasks.task import Task

RECIPES = Path(__file__).parent / "recipes"
SUFFIXES = (".yaml", ".yml")
MAX_RECIPE_BYTES = 2**20  # a recipe is a page
MOST_LISTED = 10  # keys that are wrong in one place
MOST_MISTAKES = 40
ALARMS = "max_false_alarms_per_hour"

FRONT_ENDS: tuple[str, ...] = (
    "identity",
    "change",
    "identity-change",
    "cnn",
    "lstm",
    "skeleton-graph",
)


@dataclass(frozen=True)
class _Range:
    """The numbers that make sense for a key, both ends included."""

    low: float
    high: float
    whole: bool = False


_NUMBERS = {
    "rate_hz": _Range(0.01, 60),
    "window_s": _Range(0.04, 3600),
    "width": _Range(8, 4096, whole=True),
    "layers": _Range(1, 16, whole=True),
    "dropout": _Range(0, 0.95),
    "levels": _Range(1, 12, whole=True),
    ALARMS: _Range(0, 1e6),
}
_OPTIMISATION_NUMBERS = {
    "epochs": _Range(1, 100_000, whole=True),
    "batch": _Range(1, 65_536, whole=True),
    "learning_rate": _Range(1e-8, 10),
    "weight_decay": _Range(0, 10),
    "warmup": _Range(0, 0.9),
    "clip": _Range(1e-6, 1e6),
    "label_smoothing": _Range(0, 0.9),
    "mixup": _Range(0, 10),
    "ema": _Range(0, 0.99999),
    "patience": _Range(0, 100_000, whole=True),
    "stream_dropout": _Range(0, 0.9),
    "valence_weight": _Range(0, 1000),
}
_USUAL_NUMBERS = {
    "nearest": _Range(1, 1000, whole=True),
    "components": _Range(1, 4096, whole=True),
    "bank": _Range(1, 65_536, whole=True),
    "smoothing_s": _Range(0, 600),
    "false_alarms_per_hour": _Range(1e-3, 3600),
}

# Of what has no network: nothing says when to stop.
UNTRAINED = Optimisation(epochs=1, patience=0)

# What a message shows of a value, however large that is.
LONGEST_SHOWN = 60  # characters of what was typed
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 2, 4, 4, 80


def load_recipe(name_or_file: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe that ships with vmm, or that of a YAML file, with some keys set anew.

    Args:
        overrides: such as `optimisation.epochs=5`; the value is read as YAML.

    Raises:
        RecipeError: there is none, or it is wrong; the message has all its mistakes.
    """
    path = _find(name_or_file)
    mistakes: list[str] = []
    content = _read(path, mistakes)
    content["streams"] = _by_name(content.get("streams"))
    for override in overrides:
        _override(content, override, mistakes)
    recipe = _recipe(content, path.stem, mistakes)
    if recipe is None or mistakes:
        raise RecipeError(f"recipe {name_or_file!r}: {_numbered(mistakes)}")
    return recipe


def list_recipes() -> tuple[tuple[str, str], ...]:
    """Return names and descriptions of the recipes that ship with vmm, the default first."""
    found = [
        (path.stem, str(_read(path, []).get("description", ""))) for path in RECIPES.glob("*.yaml")
    ]
    return tuple(sorted(found, key=lambda entry: (entry[0] != "default", entry[0])))


# --- files --------------------------------------------------------------------------------------


def _find(name_or_file: str) -> Path:
    names = [path.stem for path in RECIPES.glob("*.yaml")]
    if name_or_file in names:
        return RECIPES / f"{name_or_file}.yaml"
    path = Path(name_or_file)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        return path
    hint = did_you_mean(name_or_file, names) or "."
    raise RecipeError(
        f"no recipe named {name_or_file!r}{hint} "
        "See `vmm models list --recipes`, or name a .yaml file"
    )


def _read(path: Path, mistakes: list[str]) -> dict[Any, Any]:
    """Return a file's keys with values; RecipeError where it holds none that can be read."""
    try:
        document = load_yaml(read_regular(path, MAX_RECIPE_BYTES))
    except UnreadableError as error:
        raise RecipeError(f"recipe {path}: {error}") from None
    except YamlError as error:
        raise RecipeError(f"recipe {path}: is not readable as YAML: {error}") from None
    if not isinstance(document.value, dict):
        raise RecipeError(f"recipe {path}: holds no keys with values")
    if document.repeated:
        shown = [f"{_said(key)} in line {line}" for key, line in document.repeated]
        more = f" and {len(shown) - MOST_LISTED} more" if len(shown) > MOST_LISTED else ""
        listed = ", ".join(shown[:MOST_LISTED]) + more
        mistakes.append(f"given a second time: {listed}; leave one of each")
    return document.value


def _override(content: dict[Any, Any], override: str, mistakes: list[str]) -> None:
    """Set one key of a recipe's content, in place."""
    key, equals, text = override.partition("=")
    shown = repr(override if len(override) <= LONGEST_SHOWN else f"{override[:LONGEST_SHOWN]}…")
    *outer, last = key.strip().split(".")
    if not equals or not all((*outer, last)):
        mistakes.append(f"{shown} sets nothing; write key=value, such as fusion=gated")
        return
    try:
        value = load_yaml(text).value
    except YamlError as error:
        mistakes.append(f"{shown}: the value is not readable as YAML: {error}")
        return
    inner = content
    for name in outer:
        below = inner.get(name)
        if below is not None and not isinstance(below, dict):
            mistakes.append(f"{shown}: {_said(name)} has a value, and nothing inside")
            return
        # Copied: YAML's aliases make one mapping stand in two places.
        inner[name] = inner = copy.copy(below) if below is not None else {}
    inner[last] = value if outer or last != "streams" else _by_name(value)


def _by_name(streams: object) -> object:
    """Return streams that are listed by their names alone as keys without values."""
    if isinstance(streams, list) and all(isinstance(name, str) for name in streams):
        return dict.fromkeys(streams)
    return streams


def _numbered(mistakes: Sequence[str]) -> str:
    if len(mistakes) == 1:
        return mistakes[0]
    shown = mistakes[:MOST_MISTAKES]
    listed = " ".join(f"({i}) {mistake}" for i, mistake in enumerate(shown, start=1))
    more = f" and {len(mistakes) - len(shown)} more" if len(mistakes) > len(shown) else ""
    return f"{len(mistakes)} mistakes: {listed}{more}"


# --- checks: each adds what is wrong to `mistakes` and goes on -----------------------------------


def _recipe(content: Mapping[Any, Any], name: str, mistakes: list[str]) -> Recipe | None:
    """Return the recipe; where something is wrong, None or one that must not be used."""
    _refuse_unknown(content, [f.name for f in fields(Recipe)], "", mistakes)
    if content.get(ALARMS) is None:  # as recipes are written that do not say it
        content = {key: value for key, value in content.items() if key != ALARMS}
    values: dict[str, Any] = _numbers(content, _NUMBERS, "", mistakes)
    head = values["head"] = _choice(content.get("head", heads()[0]), heads(), "head", mistakes)
    task = task_of(head)
    streams = _streams(content.get("streams"), task, mistakes)
    temporal = TEMPORAL if task.windows else LIMITED_TEMPORAL
    for key, choices in (("temporal", temporal), ("fusion", FUSION)):
        values[key] = _choice(content.get(key, choices[0]), choices, key, mistakes)
    mistakes += (
        f"{key}: {_SHORT.repr(content[key])} is not a line of text"
        for key in ("name", "description")
        if not (isinstance(text := content.get(key, ""), str) and text.isprintable())
    )
    values["optimisation"] = _optimisation(content.get("optimisation"), mistakes)
    values["usual"] = _usual(content.get("usual"), mistakes)
    if task.learn is not None:
        mistakes += _only_for_networks(content, head)
        values["optimisation"] = UNTRAINED
    elif values["usual"] != Usual():
        mistakes.append(f"usual: the head {head!r} has no use for it; leave it out")
    mistakes += only_for_others(streams, values["optimisation"], head)
    if task.as_negative is None and ALARMS in values:
        mistakes.append(f"{ALARMS}: the head {head!r} has no use for it; leave it out")
    if values["optimisation"].probe:
        mistakes += no_probe(streams, values["temporal"], values["fusion"], task)
    if mistakes:
        return None
    recipe = Recipe(
        name=content.get("name", name),
        description=content.get("description", ""),
        streams=streams,
        **values,
    )
    steps = Fraction(str(recipe.rate_hz)) * Fraction(str(recipe.window_s))
    if steps % 2:  # a window begins half a window after another: on a step of the common grid
        mistakes.append(
            f"window_s {recipe.window_s:g} at rate_hz {recipe.rate_hz:g} has {float(steps):g} "
            "steps; it must be an even whole number"
        )
    if recipe.rate_hz * recipe.window_s > MAX_STEPS:
        mistakes.append(
            f"window_s {recipe.window_s:g} at rate_hz {recipe.rate_hz:g} has more than "
            f"{MAX_STEPS} steps; make one of them smaller"
        )
    return recipe


def _only_for_networks(content: Mapping[Any, Any], head: str) -> Iterator[str]:
    """Yield what is said, and otherwise than a recipe says it by itself, of networks."""
    known = {f.name: f.default for f in fields(Recipe)}
    for key in ("temporal", "fusion", "width", "layers", "dropout", "levels"):
        if key in content and content[key] != known[key]:
            yield f"{key}: the head {head!r} has no network; leave it out"
    given = content.get("optimisation")
    given = given if isinstance(given, dict) else {}
    for key in given:
        if given[key] != getattr(UNTRAINED, str(key), None):
            yield f"optimisation.{_said(key)}: the head {head!r} has no network; leave it out"


def _streams(content: object, task: Task, mistakes: list[str]) -> dict[str, StreamRecipe]:
    if not isinstance(content, dict) or not content:
        shown = "" if content is None else f" {_SHORT.repr(content)}"
        there = ", ".join(catalogue.streams())
        mistakes.append(f"streams:{shown} names no stream; there are {there}")
        return {}
    found = {}
    known = catalogue.streams()
    unknown = [stream for stream in content if stream not in known]
    mistakes += (_no_choice(stream, known, "streams") for stream in unknown[:MOST_LISTED])
    if more := unknown[MOST_LISTED:]:
        mistakes.append(f"streams: {len(more)} more that there are not")
    for stream, inner in content.items():
        where = f"streams.{stream}"
        if stream not in known:
            continue
        if inner is not None and not isinstance(inner, dict):
            mistakes.append(f"{where}: {_SHORT.repr(inner)} is not keys with values")
        else:
            found[stream] = _stream(stream, inner or {}, task, where, mistakes)
    return found


def _stream(
    stream: str, content: Mapping[Any, Any], task: Task, where: str, mistakes: list[str]
) -> StreamRecipe:
    rows = {name: catalogue.entry(name) for name in catalogue.choices(stream)}
    blocks = {name: row.learns for name, row in rows.items() if row.learns}
    ranges = {"train_last": _Range(0, max(blocks.values()), whole=True)} if blocks else {}
    _refuse_unknown(content, ["encoder", "front_end", *ranges], f"{where}.", mistakes)
    encoders, choices = [*rows], FRONT_ENDS
    if not task.windows:  # in each of which it could look elsewhere
        encoders = [name for name, row in rows.items() if not row.per_window]
    encoder = content.get("encoder", encoders[0])
    if encoder not in encoders:
        mistakes.append(_no_choice(encoder, encoders, f"{where}.encoder"))
    else:
        choices = rows[encoder].front_ends
        if task.learn is not None:  # what a network would make of it is not there
            choices = tuple(name for name in choices if name in OF_FEATURES)
            if not choices:
                mistakes.append(
                    f"{where}.encoder: what {encoder!r} gives is no features of each step, and "
                    f"there is no network to take it; leave the stream out"
                )
                choices = FRONT_ENDS
    front_end = content.get("front_end", choices[0])
    if front_end in FRONT_ENDS and front_end not in choices:
        mistakes.append(
            f"{where}.front_end: {front_end!r} cannot take what the encoder {encoder!r} gives; "
            f"{' and '.join(choices)} can"
        )
    elif front_end not in FRONT_ENDS:
        mistakes.append(_no_choice(front_end, choices, f"{where}.front_end"))
    options = _numbers(content, ranges, f"{where}.", mistakes)
    if options.get("train_last") and encoder not in blocks:
        can = " and ".join(map(repr, blocks))
        mistakes.append(f"{where}.train_last: only blocks of {can} can learn")
    return StreamRecipe(encoder, front_end, options)


def _optimisation(content: object, mistakes: list[str]) -> Optimisation:
    if content is None:
        return Optimisation()
    if not isinstance(content, dict):
        mistakes.append(f"optimisation: {_SHORT.repr(content)} is not keys with values")
        return Optimisation()
    _refuse_unknown(content, [f.name for f in fields(Optimisation)], "optimisation.", mistakes)
    values: dict[str, Any] = _numbers(content, _OPTIMISATION_NUMBERS, "optimisation.", mistakes)
    for key in (key for key in ("class_weights", "probe") if key in content):
        values[key] = content[key]
        if not isinstance(content[key], bool):
            shown = _SHORT.repr(content[key])
            mistakes.append(f"optimisation.{key}: {shown} is not true or false")
    return Optimisation(**values)


def _usual(content: object, mistakes: list[str]) -> Usual:
    if content is None:
        return Usual()
    if not isinstance(content, dict):
        mistakes.append(f"usual: {_SHORT.repr(content)} is not keys with values")
        return Usual()
    _refuse_unknown(content, [f.name for f in fields(Usual)], "usual.", mistakes)
    return Usual(**_numbers(content, _USUAL_NUMBERS, "usual.", mistakes))


def _numbers(
    content: Mapping[Any, Any], ranges: Mapping[str, _Range], where: str, mistakes: list[str]
) -> dict[str, Any]:
    """Return the numbers that are given and right; the others have their defaults."""
    found = {}
    for key in (key for key in ranges if key in content):
        number = _number(content[key], ranges[key])
        if number is None:
            kind = "a whole number" if ranges[key].whole else "a number"
            span = f"from {ranges[key].low:g} to {ranges[key].high:g}"
            mistakes.append(f"{where}{key}: {_SHORT.repr(content[key])} is not {kind} {span}")
        else:
            found[key] = number
    return found


def _number(value: object, allowed: _Range) -> float | int | None:
    """Return a value as a number of a range, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)  # YAML takes 1e-3 for text, since it has no point
    except (ValueError, OverflowError):
        return None
    if not allowed.low <= number <= allowed.high or (allowed.whole and not number.is_integer()):
        return None
    return int(number) if allowed.whole else number


def _choice(value: object, choices: Sequence[str], where: str, mistakes: list[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    mistakes.append(_no_choice(value, choices, where))
    return choices[0]


def _no_choice(value: object, choices: Iterable[str], where: str) -> str:
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"{where}: {_SHORT.repr(value)} is none of {', '.join(choices)}{near}"


def _refuse_unknown(
    content: Mapping[Any, Any], known: Sequence[str], where: str, mistakes: list[str]
) -> None:
    unknown = [key for key in content if key not in known]
    for key in unknown[:MOST_LISTED]:
        hint = did_you_mean(str(key), known) or f"; there are {', '.join(known)}"
        mistakes += [f"{where}{_said(key)}: there is no such key{hint}"]
    if more := unknown[MOST_LISTED:]:
        mistakes.append(f"{where or 'the recipe'}: {len(more)} more keys that there are not")


def _said(key: object) -> str:
    """Return a key as it is shown: without quotes, and short."""
    return _SHORT.repr(key)[1:-1] if isinstance(key, str) else _SHORT.repr(key)
