"""The report of `vmm doctor`, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from vmm_cli.output.escape import escape_controls
from vmm_cli.output.table import Column, Row, print_table


def draw(stream: TextIO, report: Mapping[str, Any]) -> None:
    """Draw the report for people."""
    rows = [
        Row((title, text), rule=last)
        for section in ("versions", "extras", "devices", "codecs", "paths", "models")
        for title, text, last in _with_last(_lines(section, report[section]))
    ]
    print_table(stream, (Column("what"), Column("found")), rows)
    stream.write("\n")
    for problem in report["problems"]:
        stream.write(escape_controls(f"problem: {problem['problem']}") + "\n")
        stream.write(escape_controls(f"  cure: {problem['do']}") + "\n")
    if not report["problems"]:
        stream.write("no problems found\n")
    stream.flush()


def _with_last(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, bool]]:
    lines = list(lines)
    for i, (title, text) in enumerate(lines):
        yield title, text, i == len(lines) - 1


def _lines(section: str, found: Any) -> Iterator[tuple[str, str]]:
    if found is None:
        yield section, "unknown: see below"
    elif section == "versions":
        for name, version in found.items():
            yield name, version or "missing"
    elif section == "extras":
        for extra in found:
            yield f"extra {extra['name']}", f"{extra['state']}: {_told(extra)}"
    elif section == "devices":
        yield "CPU cores", str(found["cpu_cores"])
        yield "CPU units for bf16", ", ".join(found["cpu_bf16"]) or "none"
        for device in found["cuda"]:
            yield device["device"], f"{device['name']}, {device['memory_bytes'] / 2**30:.0f} GiB"
        if not found["cuda"]:
            yield "CUDA", "none"
    elif section == "codecs":
        for kind, names in found.items():
            yield kind, " ".join(name if there else f"(no {name})" for name, there in names.items())
    elif section == "paths":
        for place in found:
            state = "not there yet"
            if place["mode"] is not None:
                state = f"mode {place['mode']}, {place['size_bytes'] / 1e6:.1f} MB"
            yield place["what"], f"{place['path']} ({state})"
    elif section == "models":
        for model in found:
            state = "verified" if model["verified"] else "cannot be used: see below"
            state += ", a demonstration" if model["demonstration"] else ""
            version = "" if model["version"] is None else f"version {model['version']}, "
            yield f"model {model['name']}", f"{version}{state}"
        if not found:
            yield "models", "none"


def _told(extra: dict[str, Any]) -> str:
    """Return what there is to say of an extra beside its state."""
    versions = [f"{name} {version}" for name, version in extra["packages"].items() if version]
    if extra["state"] == "absent":
        return f"{extra['purpose']}; {extra['install']}"
    return ", ".join(versions) or extra["purpose"]
