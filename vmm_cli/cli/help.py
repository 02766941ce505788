"""What `--help` shows: options in groups, and how a command is called, by example.

Typer draws groups only with rich, which takes long to load and breaks lines in narrow windows; here
they are plain text. An option's group is its `rich_help_panel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MethodType
from typing import Any

from vmm_cli.operations.operation import Example
from vmm_cli.operations.options import INPUT, OUTPUT, RUN

_FIRST, _LAST = (INPUT,), (OUTPUT, RUN)

_WIDE = 70  # columns from which on there is room for long options beside their help
_LONGEST_OPTION = 30
_WHOLE = 1000  # characters; no summary of a command is cut
_GOES_ON = " \\"  # what ends a line of a command that goes on in the next

Examples = Mapping[tuple[str, ...], Sequence[Example]]

# Of the commands that are no operations: those have their own.
EXAMPLES: dict[tuple[str, ...], Sequence[Example]] = {
    (): (
        ("What is in these files?", "vmm info clips"),
        ("What do they show? As a table of labels", "vmm classify clips -o labels.csv"),
    ),
    ("train",): (
        ("Look at the data first", "vmm train data --check"),
        ("Train, with five seeds to see the spread", "vmm train data -o runs/mine --seeds 5"),
    ),
    ("evaluate",): (
        ("How good is a model on my videos?", "vmm evaluate fights data"),
        (
            "The same of a model of one's own, with all predictions and plots",
            "vmm evaluate runs/mine data -o measured",
        ),
    ),
    ("export",): (
        ("What runs a model without vmm", "vmm export imagenet -o exported"),
        (
            "The same, smaller and faster, with what that costs",
            "vmm export imagenet -o small --precision int8 --calibrate clips",
        ),
    ),
    ("doctor",): (
        ("Is all well on this machine?", "vmm doctor"),
        ("For a bug report", "vmm doctor --format json > doctor.json"),
    ),
    ("models",): (
        ("Which models are there?", "vmm models list"),
        ("What does one of them know?", "vmm models show fights"),
    ),
    ("models", "list"): (
        ("Which models are there?", "vmm models list"),
        ("Which can be downloaded?", "vmm models list --fetchable"),
    ),
    ("models", "show"): (
        ("What does a model know?", "vmm models show fights"),
        ("All of it, for a program", "vmm models show imagenet --format json"),
    ),
    ("models", "path"): (
        ("Where is a model?", "vmm models path fights"),
        ("Read its card", 'cat "$(vmm models path fights)/CARD.md"'),
    ),
    ("models", "fetch"): (
        ("Download a model", "vmm models fetch torchvision/resnet18"),
        (
            "On a machine without a network",
            "vmm models fetch torchvision/resnet18 --from resnet18-f37072fd.pth",
        ),
    ),
    ("cache",): (
        ("How much does the store hold?", "vmm cache info"),
        ("Delete all of it", "vmm cache clear"),
    ),
    ("cache", "info"): (
        ("How much does the store hold?", "vmm cache info"),
        ("For a program", "vmm cache info --format json"),
    ),
    ("cache", "clear"): (
        ("Delete all that the store holds", "vmm cache clear"),
        ("And say what it was, for a program", "vmm cache clear --format json"),
    ),
}


def dress(command: Any, examples: Examples, path: tuple[str, ...] = ()) -> None:
    """Have the help of a command, and of those in it, drawn by this module."""
    command.format_options = MethodType(_options, command)
    command.format_epilog = MethodType(partial(_examples, examples[path]), command)
    for parameter in command.params:
        if parameter.param_type_name == "argument":  # Typer puts braces around what is required
            name = parameter.metavar if parameter.required else f"[{parameter.metavar}]..."
            parameter.get_usage_pieces = partial(_pieces, name)
    for name, inner in getattr(command, "commands", {}).items():
        dress(inner, examples, (*path, name))


def _pieces(name: str, context: Any) -> list[str]:
    return [name]


def _options(command: Any, context: Any, formatter: Any) -> None:
    """Write the options in their groups, and the commands of a group of commands."""
    commands = getattr(command, "commands", {})
    groups: dict[str, list[tuple[str, str]]] = {}
    # Where results go comes first in its group; otherwise options stand as they are declared.
    parameters = sorted(command.get_params(context), key=lambda one: one.name != "output")
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None:
            if parameter.param_type_name == "argument":  # without the name of a Python type
                record = (parameter.metavar, parameter.help)
            name = getattr(parameter, "rich_help_panel", None) or RUN
            groups.setdefault("Options" if commands else name, []).append(record)
    if commands:
        groups["Commands"] = [
            (name, inner.get_short_help_str(_WHOLE)) for name, inner in commands.items()
        ]
    longest = _LONGEST_OPTION if formatter.width >= _WIDE else max(14, formatter.width // 3)
    width = min(longest, max(len(left) for rows in groups.values() for left, _ in rows))
    for name in _in_order(groups):
        # Padded, so that the groups' columns stand under each other.
        rows = [(left.ljust(width), right) for left, right in groups[name]]
        with formatter.section(name):
            formatter.write_dl(rows, col_max=width)


def _in_order(groups: Mapping[str, object]) -> list[str]:
    own = [name for name in groups if name not in (*_FIRST, *_LAST)]
    return [name for name in (*_FIRST, *own, *_LAST) if name in groups]


def _examples(examples: Sequence[Example], command: Any, context: Any, formatter: Any) -> None:
    """Write the examples, ready to be copied."""
    with formatter.section("Examples"):
        for text, line in examples:
            formatter.write_text(text if text.endswith("?") else f"{text}:")
            with formatter.indentation():
                indent = formatter.current_indent
                formatter.write(wrapped(line, formatter.width - indent, indent))


def wrapped(line: str, width: int, indent: int) -> str:
    r"""Return a command, with backslashes where it goes on in a new line for want of room.

    >>> print(wrapped("vmm info clips --shots", 16, 2), end="")
      vmm info clips \
        --shots
    """
    lines: list[str] = []
    for word in line.split(" "):
        if not lines:
            lines.append(word)
        elif len(lines[-1]) + len(word) + 1 > width - len(_GOES_ON):
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return f"{_GOES_ON}\n".join(f"{'':{indent}}{part}" for part in lines) + "\n"
