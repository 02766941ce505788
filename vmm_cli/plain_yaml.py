"""Read YAML by others in bounded time and memory: plain values, and nothing that grows.

Lists, mappings and scalars become Python's; there are no objects, dates or numbers to base 60. An
alias stands for what it names only as long as the whole stays small, since a few lines of them can
stand for billions of values. Numbers need not be finite: who reads them says which make sense.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_DEPTH = 32
MAX_VALUES = 50_000  # the largest label map in sight has 22,000
MAX_REPEATED = 1_000_000  # characters and values that stand where an alias is
MAX_DIGITS = 20  # of whole numbers: any of 64 bits
MAX_DIRECTIVES = 8  # libyaml compares each with all before it

# The C parser where it is there: ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DIRECTIVE = re.compile(r"[\n\r\x85\u2028\u2029]%")
_TAG = "tag:yaml.org,2002:"
# What YAML 1.1 makes of a scalar without quotes; of other kinds, such as dates, it stays text.
_RESOLVER = yaml.resolver.Resolver()


class YamlError(Exception):
    """Text that is no YAML, or not of the kind that is read; the message begins with the line."""


@dataclass(frozen=True)
class Document:
    """What a YAML file holds.

    Attributes:
        value: None, bool, int, float, str, list or dict.
        repeated: keys that stand in one mapping before, and their lines; the last one counts.
    """

    value: Any
    repeated: tuple[tuple[str, int], ...]


def load(data: bytes | str) -> Document:
    """Return what YAML text of one document holds.

    Raises:
        YamlError: it is not YAML, not UTF-8, or holds more or others than is read here.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise YamlError(f"line {line} is not UTF-8 text") from None
    if len(_DIRECTIVE.findall(text)) > MAX_DIRECTIVES:
        raise YamlError(f"has more than {MAX_DIRECTIVES} directives")
    try:
        return _Reader(yaml.parse(text, _LOADER)).document()
    except yaml.YAMLError as error:
        raise YamlError(_reason(error)) from None


def _reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"line {mark.line + 1}: "
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    if "maximum nesting depth" in problem:  # the parser has a limit of its own since PyYAML 6.0.4
        problem = f"nested more than {MAX_DEPTH} deep"
    return f"{where}{problem}"


class _Reader:
    """Makes values of the parser's events, and stops where they become too many."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._values = 0
        self._weight = 0  # of all values so far, and of what aliases stand for
        self._repeated_weight = 0
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # None: not at its end yet
        self._twice: list[tuple[str, int]] = []

    def document(self) -> Document:
        value = None
        found = False
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found:
                    raise _problem(event, "a second document begins; one is read")
                found = True
                value = self._value(next(self._events), 0)
        return Document(value, tuple(sorted(self._twice, key=lambda entry: entry[1])))

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._named(event)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _problem(event, f"there are more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise _problem(event, f"nested more than {MAX_DEPTH} deep")
        before = self._weight
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            self._weight += 1 + len(event.value)
            value = _scalar(event)
        else:
            self._weight += 1
            _refuse_tag(event, ("seq", "map"))
            is_list = isinstance(event, yaml.SequenceStartEvent)
            value = self._list(depth + 1) if is_list else self._mapping(depth + 1)
        if anchor is not None:
            self._anchors[anchor] = value, self._weight - before
        return value

    def _named(self, event: yaml.AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            raise _problem(event, f"there is no anchor {event.anchor!r} before it")
        named = self._anchors[event.anchor]
        if named is None:
            raise _problem(event, f"the alias {event.anchor!r} lies in what it stands for")
        value, weight = named
        self._weight += weight
        self._repeated_weight += weight
        if self._repeated_weight > MAX_REPEATED:
            raise _problem(event, "its aliases stand for too much")
        return value

    def _list(self, depth: int) -> list[Any]:
        values = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth))
        return values

    def _mapping(self, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        merged: list[dict[Any, Any]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _problem(event, "a key is no single value")
            key = self._value(event, depth)
            value = self._value(next(self._events), depth)
            if event.value == "<<" and event.implicit[0]:
                merged += _mappings(event, value)
                continue
            if key in values:
                self._twice.append((event.value, _line(event)))
            values[key] = value
        for other in merged:
            for key, value in other.items():
                values.setdefault(key, value)
        return values


def _mappings(event: yaml.Event, value: Any) -> list[dict[Any, Any]]:
    """Return what is merged into a mapping by its key `<<`."""
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in found):
        raise _problem(event, "'<<' merges mappings, and nothing else")
    return found


def _scalar(event: yaml.ScalarEvent) -> Any:
    """Return a scalar's value; what YAML 1.1 takes for anything but these stays text."""
    text: str = event.value
    _refuse_tag(event, ("str",))
    if event.tag is not None or not event.implicit[0]:
        return text
    resolved = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = str(resolved).removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int" and _DECIMAL.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise _problem(event, f"a number of {len(text)} digits")
        return int(text)
    if kind == "float" and not {":", "_"} & set(text):
        # YAML writes .nan and -.inf.
        return float(text.lower().replace(".nan", "nan").replace(".inf", "inf"))
    return text


def _refuse_tag(event: yaml.Event, allowed: tuple[str, ...]) -> None:
    tag: str | None = getattr(event, "tag", None)
    if tag is not None and tag not in ("!", *(_TAG + kind for kind in allowed)):
        raise _problem(event, f"the tag {tag[:60]!r} is not read")


def _problem(event: yaml.Event, problem: str) -> YamlError:
    return YamlError(f"line {_line(event)}: {problem}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1
