"""A command over videos from outside the package is one file: see `tests.operations.brightness`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operations.brightness import BRIGHTNESS
from vmm_cli.batch.journal import journal_path
from vmm_cli.cli.app import build, run


@pytest.fixture
def clip(render_clip: Callable[..., Path]) -> Path:
    """Four seconds; at the first 0 of 16 bars are white, at the next 2, 2 and 4."""
    return render_clip("clip.mp4", frames=20, rate=5)


def vmm(*arguments: str | Path) -> int:
    return run(["brightness", *map(str, arguments)], more=[BRIGHTNESS])


def test_its_records_go_where_those_of_all_commands_go(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vmm(clip, "--format", "jsonl") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["schema"], record["status"]) == ("toy.brightness/1", "ok")
    first, *between, last = [frame["mean"] for frame in record["frames"]]
    assert len(between) == 2
    assert first < min(between) and max(between) < last

    assert vmm(clip, "--format", "table", "--count", "1") == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["input", "time", "brightness"] and row.endswith("%")

    assert vmm(clip, tmp_path / "none.mp4", "-o", tmp_path / "out.csv") == 3
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "input,status,time_s,mean,error"
    assert len(rows) == 5 and rows[-1].endswith("missing: no such file or folder")

    assert vmm(clip, "-o", tmp_path / "clip.srt") == 0
    assert (tmp_path / "clip.srt").read_text().count("-->") == 4


def test_what_is_done_is_not_done_again(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    def times_done(*more: str) -> int:
        assert vmm(clip, "-o", output, *more) == 0
        return journal_path(output).read_text().count('"fingerprint"')

    assert times_done() == times_done() == times_done("--every", "1") == 1
    assert times_done("--every", "2") == times_done("--every", "2", "--jobs", "1") == 2
    assert times_done("--every", "2", "--inverted") == 3


def test_its_options_come_from_a_file_and_the_environment_too(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("brightness:\n  every: 2\n")
    how = "--config", config, "--format", "jsonl"

    def frames() -> int:
        return len(json.loads(capsys.readouterr().out)["frames"])

    assert vmm(clip, *how) == 0 and frames() == 2
    assert vmm(clip, *how, "--count", "3") == 0 and frames() == 3  # a flag is stronger than a file
    monkeypatch.setenv("VMM_BRIGHTNESS_EVERY", "4")
    assert vmm(clip, *how) == 0 and frames() == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--every", "0"], "--every: '0' is not above 0 seconds"),
        (["--every", "1", "--count", "2"], "--every and --count contradict each other; give only"),
        (["--count", "1001"], "--count 1001: so many frames say no more"),
        (["--start", "2", "--end", "1"], "--end (1 s) must lie after --start (2 s)"),
        (["--format", "vtt"], "'vtt' is not one of"),
        (["--evry", "1"], "did you mean '--every'?"),
    ],
)
def test_wrong_usage(
    clip: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert vmm(clip, *arguments) == 2
    assert said in capsys.readouterr().err


def test_its_help_is_like_that_of_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert vmm("--help") == 0
    text = capsys.readouterr().out
    groups = [line[:-1] for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert groups == ["Input", "Frames", "Output", "Run", "Examples"]
    assert "brightness" not in build().commands, "nothing is registered"
