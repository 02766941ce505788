"""Plain text: a paragraph for each input, and which input it is where there are several."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmm_cli.cli.app import run
from vmm_cli.operations.info import INFO
from vmm_cli.operations.transcribe import text
from vmm_cli.output.formats import FORMATS
from vmm_cli.output.plain_text import PlainText

WITH_TEXT = replace(
    INFO,
    name="facts",
    shown=lambda options: replace(INFO.shown(options), text=lambda record: str(record["format"])),
    formats={**INFO.formats, "txt": FORMATS["txt"], "srt": FORMATS["srt"]},
)
FAILED = {"code": "no_audio", "message": "there is no sound in it"}


def ok(name: str, said: str) -> dict[str, Any]:
    return {"input": name, "status": "ok", "said": said}


def written(*records: dict[str, Any]) -> str:
    stream = io.StringIO()
    writer = PlainText(stream, lambda record: str(record["said"]))
    for record in records:
        writer.write(record)
    writer.close()
    return stream.getvalue()


def test_one_input_is_its_text_alone() -> None:
    assert written(ok("a.mp4", "Hello,\n  you.\x1b[1m")) == "Hello, you.\\x1b[1m\n"
    assert written(ok("a.mp4", "")) == ""
    assert written({"input": "a.mp4", "status": "failed", "error": FAILED}) == ""
    assert written() == ""


def test_several_are_named_and_none_is_left_out() -> None:
    failed = {"input": "b\x1b.mp4", "status": "failed", "error": FAILED}
    assert written(ok("a.mp4", "Hello."), failed, ok("c.mp4", "")) == (
        "a.mp4\nHello.\n\nb\\x1b.mp4\n(no_audio: there is no sound in it)\n\nc.mp4\n(no text)\n"
    )
    planned = [{"input": name, "status": "planned"} for name in ("a.mp4", "b.mp4")]
    assert written(planned[0]) == "a.mp4\n"
    assert written(*planned) == "a.mp4\n\nb.mp4\n"


def test_what_is_written_without_spaces_is_joined_so() -> None:
    segments = [{"text": "你好"}, {"text": "世界"}]
    assert text({"language": "zh", "segments": segments}) == "你好世界"
    assert text({"language": None, "segments": segments}) == "你好 世界"


def test_a_text_is_a_file_or_one_for_each_input(
    render_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [str(render_clip(name, frames=5, rate=5)) for name in ("in/a.mp4", "in/b.mp4")]

    def facts(*words: str | Path) -> int:
        return run(["facts", *map(str, words)], more=[WITH_TEXT])

    assert facts(clips[0], "-o", tmp_path / "one.txt") == 0
    assert (tmp_path / "one.txt").read_text().startswith("mov,mp4")
    assert facts(*clips, "-o", tmp_path / "all.txt") == 0
    assert [
        line.split("/")[-1] for line in (tmp_path / "all.txt").read_text().split("\n")[::3]
    ] == [
        "a.mp4",
        "b.mp4",
    ]
    assert facts(tmp_path / "in", "-o", f"{tmp_path}/each/", "--format", "txt") == 0
    assert sorted(path.name for path in (tmp_path / "each").glob("*.txt")) == ["a.txt", "b.txt"]
    assert (tmp_path / "each" / "b.txt").read_text() == (tmp_path / "one.txt").read_text()
    assert facts(clips[0], "-o", tmp_path / "each") == 2
    assert "or give --format txt|srt" in capsys.readouterr().err
