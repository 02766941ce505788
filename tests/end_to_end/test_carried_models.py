"""`--model moderation` and `--model sounds` from the shell."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import Vmm

# What the package's ONNX graph says of the same pixels, the first three frames each half a second:
# run once by tools/convert_open_nsfw.py --numbers.
NUMBERS = json.loads((Path(__file__).parents[1] / "data" / "open_nsfw.json").read_text())
HALF_PRECISION = 0.005  # of the weights that are stored


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_scores_over_time_are_those_of_the_package(
    engine: str, run_vmm: Vmm, bunny: Path, bikes: Path
) -> None:
    asked = ("--model", "moderation", "--every", "0.5", "--windows", "0.5", "--no-store")
    done = run_vmm("classify", bunny, bikes, *asked, env={"VMM_ENGINE": engine})
    assert (done.returncode, done.stderr) == (0, "")
    for line in done.stdout.splitlines():
        record = json.loads(line)
        assert record["model"] == {"name": "moderation", "version": 1}
        scores = [
            {label["label"]: label["score"] for label in window["labels"]}
            for window in record["windows"]
        ]
        assert all(set(score) == {"safe", "explicit"} for score in scores)
        assert all(
            score["safe"] + score["explicit"] == pytest.approx(1, abs=2e-5) for score in scores
        )
        wanted = NUMBERS[Path(record["input"]).name]
        found = [score["explicit"] for score in scores[: len(wanted)]]
        assert found == pytest.approx(wanted, abs=HALF_PRECISION)
        worst = {label["label"]: label["times"] for label in record["labels"]}["explicit"]
        highest = max(range(len(scores)), key=lambda i: scores[i]["explicit"])
        assert any(0 <= record["windows"][highest]["start_s"] - time < 0.05 for time in worst)


def test_the_table_says_when(run_vmm: Vmm, bunny: Path) -> None:
    asked = ("classify", bunny, "--model", "moderation", "--windows", "2")
    table = run_vmm(*asked, "--format", "table").stdout
    assert "0:02.000 - 0:04.000" in table and table.count("explicit") == 4
    assert "explicit then" in table
    rows = list(csv.DictReader(io.StringIO(run_vmm(*asked, "--format", "csv").stdout)))
    assert [row["start_s"] for row in rows if row["label"] == "explicit"] == ["0.0", "2.0", "4.0"]


def test_no_picture_of_what_is_explicit_is_drawn(run_vmm: Vmm, bunny: Path, tmp_path: Path) -> None:
    asked = ("--model", "moderation", "--min-score", "0.02", "--timeline", "drawn")
    done = run_vmm("detect-actions", bunny, *asked)
    record = json.loads(done.stdout)
    assert "explicit" in {segment["label"] for segment in record["segments"]}
    assert [path.name for path in (tmp_path / "drawn").glob("*.png")] == [record["timeline"]]
    with Image.open(tmp_path / "drawn" / record["timeline"]) as picture:
        drawn = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # Bars, curves and letters have few colours; the cartoon has thousands.
    assert len(np.unique(drawn, axis=0)) < 1000


def test_a_sheet_of_frames_is_no_part_of_it(run_vmm: Vmm, bunny: Path, tmp_path: Path) -> None:
    refused = run_vmm("classify", bunny, "--model", "moderation", "--strips", "drawn")
    assert refused.returncode == 2 and "looks at single pictures" in refused.stderr
    assert not (tmp_path / "drawn").exists()


def test_an_export_scales_pictures_alike(run_vmm: Vmm, bunny: Path, tmp_path: Path) -> None:
    done = run_vmm("export", "moderation", "-o", "out")
    assert done.returncode == 0, done.stderr
    run = [sys.executable, tmp_path / "out" / "example.py", bunny]
    shown = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    found = {line.split("  ")[1]: float(line.split("  ")[0]) for line in shown.splitlines()}
    record = json.loads(run_vmm("classify", bunny, "--model", "moderation", "--no-store").stdout)
    wanted = {label["label"]: label["score"] for label in record["labels"]}
    assert found == pytest.approx(wanted, abs=0.01)


# --- sounds --------------------------------------------------------------------------------------


def test_what_is_heard_over_time(run_vmm: Vmm, bunny: Path) -> None:
    asked = ("classify", bunny, "--model", "sounds", "--top-k", "3")
    done = run_vmm(*asked, "--windows", "2")
    record = json.loads(done.stdout)
    assert (record["status"], record["streams"]) == ("ok", ["audio"])
    assert len(record["labels"]) == 3 and record["labels"][0]["label"] == "Music"
    assert [window["start_s"] for window in record["windows"]] == [0.0, 2.0, 4.0]
    assert all(len(window["labels"]) == 3 for window in record["windows"])
    assert all(0 <= t < 5.4 for label in record["labels"] for t in label["times"])
    again = json.loads(run_vmm(*asked).stdout)  # out of the store
    assert again["labels"] == record["labels"]


def test_a_part_is_heard(run_vmm: Vmm, bunny: Path) -> None:
    asked = ("classify", bunny, "--model", "sounds")
    record = json.loads(run_vmm(*asked, "--start", "2", "--end", "3", "--no-store").stdout)
    assert all(2 <= t < 3 for label in record["labels"] for t in label["times"])
    late = json.loads(run_vmm(*asked, "--start", "90").stdout)
    assert late["error"]["code"] == "past_end"


def test_what_cannot_be_heard(run_vmm: Vmm, bikes: Path, bunny: Path) -> None:
    silent = run_vmm("classify", bikes, "--model", "sounds")
    assert silent.returncode == 3
    assert json.loads(silent.stdout)["error"]["code"] == "no_audio"
    for options, said in (
        (("--every", "1"), "leave out --every and --count"),
        (("--explain",), "need a model made by `vmm train`"),
        (("--windows", "0.1"), "shorter than the step of 0.48 s"),
    ):
        refused = run_vmm("classify", bunny, "--model", "sounds", *options)
        assert refused.returncode == 2 and said in refused.stderr
    other = run_vmm("detect-actions", bunny, "--model", "sounds")
    assert other.returncode == 1 and "only `vmm classify` runs it" in other.stderr
