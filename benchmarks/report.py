"""Results as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, versions
from benchmarks.rows import AIMS, Row, from_json

SCHEMA = "vmm.benchmarks/1"
HEADER = ("what", "measured (min to max)", "target", "met", "runs", "on")
DIGITS = {"x": 2, "s": 2, "dB": 1, "MB": 0}


def save(path: Path, rows: Sequence[Row], *, quick: bool, load_before: float) -> dict[str, Any]:
    """Write the rows, after those of earlier runs that they do not replace; return all of it."""
    kept = {row.key: row for row in _rows(load(path))} if path.exists() else {}
    kept |= {row.key: row for row in rows}
    results = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat("T", "seconds"),
        "quick": quick,
        "machine": machine() | {"load_before": load_before},
        "versions": versions(),
        "rows": [kept[key].to_json() for key in AIMS if key in kept],
    }
    path.write_text(json.dumps(results, indent=1) + "\n")
    return results


def load(path: Path) -> dict[str, Any]:
    """Return what `save` wrote."""
    results: dict[str, Any] = json.loads(path.read_text())
    return results


def markdown(results: Mapping[str, Any]) -> str:
    """Return the table, and below it the machine and the versions."""
    lines = [HEADER, tuple("---" for _ in HEADER), *map(_cells, _rows(results))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    table = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    box, found = results["machine"], results["versions"]
    programs = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    shorter = "Shorter clips (`--quick`): fixed costs weigh more than the targets allow for.\n"
    return "\n".join(
        [
            *table,
            "",
            *([shorter] if results["quick"] else []),
            f"{results['date'][:10]}; {box['processor']}, {box['usable_cores']} cores, "
            f"{box['memory_gb']} GB, {box['system']}; load before the run {box['load_before']}; "
            f"{programs}.",
        ]
    )


def _rows(results: Mapping[str, Any]) -> list[Row]:
    return [from_json(fields) for fields in results["rows"] if fields["key"] in AIMS]


def _cells(row: Row) -> tuple[str, ...]:
    aim = AIMS[row.key]
    unit = " x" if aim.unit == "x" else f" {aim.unit}"
    target = "" if aim.target is None else f"{aim.sign} {aim.target:g}{unit}"
    if row.value is None or row.low is None or row.high is None:
        return (aim.what, f"skipped: {row.skipped}", target, "", "", "")
    digits = DIGITS[aim.unit]
    value, low, high = (f"{number:.{digits}f}" for number in (row.value, row.low, row.high))
    shown = f"{value}{unit}" + ("" if low == high else f" ({low} to {high})")
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    return (aim.what, shown, target, met, str(row.runs), row.detail)
