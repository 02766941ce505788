"""`--help` of every command: groups, what is required, and examples that run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.squares import squares_clip
from vmm_cli.cli.app import build, examples, run
from vmm_cli.cli.help import wrapped

Vmm = Callable[..., subprocess.CompletedProcess[str]]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(build()))
EXAMPLES = examples()


def help_of(
    path: tuple[str, ...], columns: int, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([*path, "--help"]) == 0
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_grouped_and_ends_with_two_examples(
    path: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = help_of(path, 80, capsys, monkeypatch)
    assert max(map(len, text.splitlines())) <= 80
    groups = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert groups[-1] == "Examples"
    if path[:1] not in ((), ("models",), ("cache",)):
        assert {"Output", "Run"} <= set(groups)
        assert "Options" not in groups
    lines = [line for _, line in EXAMPLES[path]]
    assert len(set(lines)) == 2
    for example in lines:
        assert f"\n    {example}\n" in text, "on one line, to be copied"
        assert f"{' '.join(('vmm', *path))}" in example
    for width in (60, 40):
        narrow = help_of(path, width, capsys, monkeypatch)
        assert max(map(len, narrow.splitlines())) <= max(width, 50)
        assert "..." not in re.sub(r"\[ARGS\]\.\.\.|\]\.\.\.|T,\.\.\.", "", narrow), (
            "nothing is cut"
        )


def test_no_example_is_of_a_command_that_is_not() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("path", "usage", "option"),
    [
        (("extract-frames",), "-o DIR [OPTIONS] [INPUT]...", "-o, --output DIR"),
        (("detect-actions",), "-m MODEL [OPTIONS] [INPUT]...", "-m, --model MODEL"),
        (("train",), "-o RUN [OPTIONS] DATA", "-o, --output RUN"),
        (("evaluate",), "[OPTIONS] MODEL DATA", None),
        (("models", "fetch"), "[OPTIONS] NAME", None),
    ],
)
def test_what_is_required_is_marked(
    path: tuple[str, ...],
    usage: str,
    option: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = help_of(path, 100, capsys, monkeypatch)
    assert text.startswith(f"Usage: vmm {' '.join(path)} {usage}\n")
    if option is not None:
        (entry,) = re.findall(rf"^  {option} .*(?:\n {{10}}.*)*", text, re.MULTILINE)
        assert "[required" in entry


def test_a_command_is_wrapped_so_that_a_shell_reads_it() -> None:
    line = "vmm evaluate runs/mine data --split test -o measured"
    for width in (20, 30, 40, 80):
        text = wrapped(line, width, 4)
        assert max(len(part) for part in text.splitlines()) <= width + 4
        assert re.sub(r" \\\n *", " ", text).strip() == line


@pytest.fixture
def place(tmp_path: Path, squares: Path, squares_model: Path) -> Path:
    """A folder with what the examples name."""
    for name in ("clip.mp4", "talk.mp4", "clips/a.mp4", "talks/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        squares_clip(tmp_path / name, "moving", seconds=2, sound=True)
    for label in ("moving", "still"):
        for i, clip in enumerate(sorted((squares / label).iterdir())):
            target = tmp_path / "data" / ("train" if i < 4 else "test") / label / clip.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, target)
    shutil.copytree(squares_model, tmp_path / "runs" / "mine")
    return tmp_path


BATCH = ("extract-frames", "classify", "detect-actions", "transcribe", "sentiment", "info")
MARKS = {"info": [], "cache": [], "transcribe": [pytest.mark.slow, pytest.mark.extra("speech")]}
RUN_EXAMPLES = [
    pytest.param(line, marks=MARKS.get(path[0], [pytest.mark.slow]))
    for path, calls in EXAMPLES.items()
    for _, line in calls
    if path and path[0] != "train" and "fetch" not in path
]


@pytest.mark.parametrize("line", RUN_EXAMPLES)
def test_examples_run(run_vmm: Vmm, place: Path, line: str) -> None:
    if "vmm evaluate fights" in line:  # it knows other labels
        (place / "data" / "train" / "moving").rename(place / "data" / "train" / "fight")
        (place / "data" / "train" / "still").rename(place / "data" / "train" / "no_fight")
        shutil.rmtree(place / "data" / "test")
    if not line.startswith("vmm "):
        pytest.skip("more than vmm is called")
    words = line.split(" > ")[0].split()[1:]
    done = run_vmm(*words, cwd=place)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_examples_of_training_run(run_vmm: Vmm, place: Path) -> None:
    look, train = (line.split()[1:] for _, line in EXAMPLES[("train",)])
    assert run_vmm(*look, cwd=place).returncode == 0
    shutil.rmtree(place / "runs")
    done = run_vmm(*train, "--seeds", "1", "--epochs", "1", cwd=place)
    assert done.returncode == 0, done.stderr
