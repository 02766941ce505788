"""Every command's table at 80 and at 60 columns: it fits, and what it does not show it marks."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Vmm = Callable[..., subprocess.CompletedProcess[str]]
WIDTHS = (80, 60)

COMMANDS = [
    "info CLIPS none.mp4",
    pytest.param("info CLIPS --shots", marks=pytest.mark.slow),
    "extract-frames CLIPS -o OUT --count 2",
    "models list",
    "models list --fetchable",
    "models list --recipes",
    pytest.param("models show imagenet", marks=pytest.mark.slow),
    "train CLIPS --check",
    pytest.param("classify CLIPS -k 3", marks=pytest.mark.slow),
    pytest.param("classify CLIPS -k 2 --windows 2", marks=pytest.mark.slow),
    pytest.param("detect-actions CLIPS -m fights", marks=pytest.mark.slow),
    pytest.param("sentiment CLIPS --evidence face,text", marks=pytest.mark.slow),
    pytest.param("doctor", marks=pytest.mark.slow),
    pytest.param("evaluate fights CLIPS", marks=pytest.mark.slow),
]


LONG_NAME = "a video with a longer name.mp4"


@pytest.fixture
def clips(tmp_path: Path, bikes: Path) -> Path:
    for folder, name in (("fight", "a.mp4"), ("no_fight", LONG_NAME)):
        target = tmp_path / "clips" / folder / name
        target.parent.mkdir(parents=True)
        shutil.copy(bikes, target)
    return tmp_path / "clips"


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\s│─]+", text))


@pytest.mark.parametrize("command", COMMANDS)
def test_tables_fit(run_vmm: Vmm, tmp_path: Path, clips: Path, command: str) -> None:
    names = {"CLIPS": "clips", "OUT": str(tmp_path / "out")}
    arguments = [names.get(word, word) for word in command.split()]

    def table(columns: str) -> str:
        return run_vmm(*arguments, "--format", "table", env={"COLUMNS": columns}).stdout

    whole = words(table(""))
    assert whole, "a table is printed"
    for width in WIDTHS:
        shown = table(str(width))
        assert max(map(len, shown.splitlines())) <= width
        solid = re.sub(r"\s", "", shown)
        lost = {word for word in whole if word not in solid} - words(LONG_NAME)
        assert len(lost) <= shown.count("…"), lost


def test_info_has_titles_shortened(run_vmm: Vmm, render_clip: Callable[..., Path]) -> None:
    clip = render_clip("a.mp4", frames=5, metadata={"title": "on and on " * 500})
    done = run_vmm("info", clip.name, "--format", "table", cwd=clip.parent, env={"COLUMNS": "80"})
    assert "title 'on and on" in " ".join(done.stdout.split())
    assert "…" in done.stdout
    assert len(done.stdout.splitlines()) < 10


def test_shots_have_times_and_csv(run_vmm: Vmm, bikes: Path) -> None:
    shown = run_vmm("info", bikes, "--shots", "--format", "table", env={"COLUMNS": "80"})
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["2", "0:01.200", "0:03.040", "0:01.840"] in [row[-4:] for row in rows]
    done = run_vmm("info", bikes, "no.mp4", "--shots", "--format", "csv")
    lines = done.stdout.splitlines()
    assert lines[0] == "input,status,shot,start_s,end_s,error"
    assert f"{bikes},ok,2,1.2,3.04," in lines
    assert "no.mp4,failed,,,,missing: no such file or folder" in lines
    assert len(lines) == 8


def test_info_has_csv(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert run_vmm("info", bikes, "no.mp4", "-o", output).returncode == 3
    header, first, second = output.read_text().splitlines()
    assert header == "input,status,duration_s,width,height,fps,video,sound,captions,title,error"
    assert first == f"{bikes},ok,10.0,640,272,25.0,h264,,,,"
    assert second == "no.mp4,failed,,,,,,,,,missing: no such file or folder"
