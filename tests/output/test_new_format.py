"""A format from outside the package is one small writer and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest

from vmm_cli.cli.app import run
from vmm_cli.operations.info import INFO
from vmm_cli.output.escape import escape_controls
from vmm_cli.output.formats import Format, Shown


class MarkdownTable:
    """Writes what CSV has as a table of Markdown."""

    def __init__(self, stream: TextIO, shown: Shown) -> None:
        assert shown.sheet is not None
        self._stream = stream
        self._rows = shown.sheet.rows
        self._line(shown.sheet.header)
        self._line(["---"] * len(shown.sheet.header))

    def write(self, record: Mapping[str, Any]) -> None:
        for row in self._rows(record):
            self._line("" if cell is None else str(cell) for cell in row)
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()

    def _line(self, cells: Any) -> None:
        text = " | ".join(escape_controls(cell).replace("|", "\\|") for cell in cells)
        self._stream.write(f"| {text} |\n")


WITH_MARKDOWN = replace(
    INFO, name="facts", formats={**INFO.formats, "md": Format(MarkdownTable, (".md",))}
)


def test_it_is_chosen_by_name_and_by_suffix(
    render_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = render_clip("a|b.mp4", frames=10, rate=5)
    facts = ["facts", str(clip), str(tmp_path / "none.mp4")]
    assert run([*facts, "--format", "md"], more=[WITH_MARKDOWN]) == 3
    head, rule, good, bad = capsys.readouterr().out.splitlines()
    assert head.startswith("| input | status | duration_s |") and set(rule) <= set("| -")
    assert "a\\|b.mp4 | ok | 2.0 |" in good and "missing: no such file" in bad
    assert run([*facts, "-o", str(tmp_path / "out.md")], more=[WITH_MARKDOWN]) == 3
    assert (tmp_path / "out.md").read_text().splitlines() == [head, rule, good, bad]
    assert run([*facts, "-o", str(tmp_path / "out.x")], more=[WITH_MARKDOWN]) == 2
    assert "give --format table|jsonl|json|csv|md" in capsys.readouterr().err
