"""`vmm classify` from the shell: formats, contradictions, and an end before its end."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Vmm = Callable[..., subprocess.CompletedProcess[str]]


def test_every_format_says_the_same(run_vmm: Vmm, bikes: Path) -> None:
    asked = ("classify", bikes, "--model", "imagenet", "--top-k", "2", "--count", "4")
    record = json.loads(run_vmm(*asked).stdout)
    assert record["schema"] == "vmm.classify/1"
    assert record["model"] == {"name": "imagenet", "version": 1}
    assert len(record["labels"]) == 2
    rows = list(csv.DictReader(io.StringIO(run_vmm(*asked, "--format", "csv").stdout)))
    assert [row["label"] for row in rows] == [label["label"] for label in record["labels"]]
    assert [float(row["score"]) for row in rows] == [label["score"] for label in record["labels"]]
    assert [float(t) for t in rows[0]["times"].split()] == record["labels"][0]["times"]
    assert [row["rank"] for row in rows] == ["1", "2"]
    table = run_vmm(*asked, "--format", "table").stdout
    assert all(label["label"] in table for label in record["labels"])


def test_a_timeline_as_csv_file(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    none = tmp_path / "none.mp4"
    done = run_vmm("classify", bikes, none, "--windows", "5", "-k", "1", "-o", output)
    assert (done.returncode, done.stdout) == (3, "")
    rows = list(csv.DictReader(io.StringIO(output.read_text(encoding="utf-8"))))
    assert [(row["start_s"], row["end_s"]) for row in rows] == [
        ("0.0", "5.0"),
        ("5.0", "10.0"),
        ("", ""),
    ]
    assert rows[2]["status"] == "failed"
    assert rows[2]["error"].startswith("missing: ")


def test_what_cannot_be_run(run_vmm: Vmm, bikes: Path) -> None:
    unknown = run_vmm("classify", bikes, "--model", "imagnet")
    assert unknown.returncode == 1
    assert "did you mean 'imagenet'" in unknown.stderr
    folder = run_vmm("classify", bikes, "-o", bikes.parent, "--format", "csv")
    assert folder.returncode == 2
    assert "is a folder" in folder.stderr
    itself = run_vmm("classify", bikes, "-o", bikes, "--format", "csv")
    assert itself.returncode == 2
    assert "is an input" in itself.stderr


@pytest.mark.slow
def test_interrupted_run_leaves_whole_records_and_no_process(tmp_path: Path, bikes: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.mp4").write_bytes(bikes.read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "vmm_cli", "classify", tmp_path, "--no-store", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    rest, said = process.communicate(timeout=300)
    lines = [first, *rest.splitlines()]
    assert all(json.loads(line)["status"] == "ok" for line in lines)
    assert len(lines) < 12
    assert process.returncode == 130
    assert said == "interrupted\n"
    for _ in range(50):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker outlived the run")


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path: Path, bikes: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.mp4").write_bytes(bikes.read_bytes())
    process = subprocess.Popen(
        [sys.executable, "-m", "vmm_cli", "info", tmp_path, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=300) == 0
