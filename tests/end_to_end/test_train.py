"""`vmm train`, `vmm evaluate` and `vmm classify` with what was trained: the real commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Vmm
from tests.squares import squares_clip, squares_folder
from tests.terminal import AtTerminal

# Sound is encoded in no time, and needs no torch.
TONES = """
streams: [audio]
window_s: 1
width: 8
dropout: 0.1
optimisation: {epochs: 12, learning_rate: 0.02, batch: 4}
"""


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    path = tmp_path / "tones.yaml"
    path.write_text(TONES)
    return path


def document(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def records(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.stdout.splitlines()]


# --- from two folders to labels -----------------------------------------------------------------


def test_two_folders_become_a_model_that_labels_a_third(
    run_vmm: Vmm, squares: Path, tones: Path, tmp_path: Path
) -> None:
    made = run_vmm("train", squares, "-o", "run", "--recipe", tones, "--jobs", "1", "-v")
    metrics = document(made)
    assert metrics["validation"]["accuracy"] == 1
    assert "model: epoch 12: train_loss" in made.stderr
    squares_clip(tmp_path / "new" / "a.m4a", "still", seed=77, picture=False, sound=True)
    squares_clip(tmp_path / "new" / "b.mp4", "moving", seed=78, sound=True)
    squares_clip(tmp_path / "new" / "silent.mp4", "moving", seed=79)
    labelled = run_vmm("classify", "new", "new/a.m4a", "--model", "run", "--jobs", "1")
    assert labelled.returncode == 3
    best = {r["input"]: r["labels"][0]["label"] for r in records(labelled) if "labels" in r}
    assert best == {"new/a.m4a": "still", "new/b.mp4": "moving"}
    (failed,) = (r for r in records(labelled) if r["status"] == "failed")
    assert failed["input"] == "new/silent.mp4" and failed["error"]["code"] == "no_stream"

    refused = run_vmm("classify", "new", "--model", "run", "--count", "3")
    assert refused.returncode == 2 and "leave out --count" in refused.stderr


def test_a_terminal_is_told_how_far_it_is_and_what_came_of_it(
    run_at_terminal: AtTerminal, tones: Path, tmp_path: Path
) -> None:
    squares_folder(tmp_path / "data", 3, sound=True)
    (tmp_path / "data" / "still" / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "data" / "moving" / "mute.mp4").write_bytes(
        squares_clip(tmp_path / "mute.mp4", seed=9).read_bytes()
    )
    asked = ("train", "data", "-o", "run", "-r", tones, "--jobs", "1")
    home = {"HOME": os.fspath(tmp_path)}
    made = run_at_terminal(*asked, cwd=tmp_path, env=home)
    assert made.returncode == 0, made.sent
    words = r"\d+/\d+ +\d+%(  [0-9.]+x real time)?(  [0-9:]+( s)? left)?$"
    for what in ("looking", "reading videos"):
        shown = [line for line in made.drawn if what in line]
        assert shown and all(re.search(f"{what}  {words}", line) for line in shown)
    assert "0/?" not in made.sent and "0:00:" not in made.sent
    assert re.fullmatch(r"6 samples used, 2 left out in [0-9:]+( s)?; model in run", made.last)

    again = run_at_terminal(*asked, "--resume", cwd=tmp_path, env=home)
    assert again.last == "nothing to do: it is trained already; model in run"
    quiet = run_at_terminal(*asked, "--resume", "-q", cwd=tmp_path, env=home)
    assert quiet.drawn == []

    checked = run_at_terminal("train", "data", "--check", cwd=tmp_path, env=home)
    assert re.fullmatch(r"7 samples can be used, 1 left out in \d+ s", checked.last)

    judged = run_at_terminal(
        *("evaluate", "run", "data", "-o", "out", "--jobs", "1"), cwd=tmp_path, env=home
    )
    assert judged.returncode == 3
    assert any(re.search(f"judging  {words}", line) for line in judged.drawn)
    assert "0/?" not in judged.sent
    assert re.fullmatch(r"6 judged, 2 failed in [0-9:]+( s)?; results in out", judged.last)


def test_the_bundled_fights_judges_a_recording(run_vmm: Vmm, bikes: Path) -> None:
    done = run_vmm("classify", bikes, "--model", "fights", "--end", "4", "--explain")
    (record,) = records(done)
    assert record["model"] == {"name": "fights", "version": 1}
    assert {label["label"] for label in record["labels"]} == {"fight", "no_fight"}
    assert set(record["explain"]["without"]) == {"image", "motion"}


@pytest.mark.slow
def test_a_strip_is_drawn_and_drawn_again_when_it_is_gone(
    run_vmm: Vmm, squares: Path, squares_model: Path, tmp_path: Path
) -> None:
    clip = squares / "moving" / "00.mp4"
    asked = ("classify", clip, "--model", squares_model, "--strips", "strips", "-o", "r.jsonl")
    for _ in range(2):
        assert run_vmm(*asked, "--jobs", "1").returncode == 0
        (record,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
        assert record["strip"] == "00.mp4.explain.png"
        assert set(record["explain"]["without"]) == {"image", "audio"}
        (tmp_path / "strips" / record["strip"]).unlink()
    table = run_vmm("classify", clip, "-m", squares_model, "--explain", "--format", "table").stdout
    assert "in its best window" in table
    assert "without image" in table and "without audio" in table
    other = squares / "still" / "00.mp4"
    both = run_vmm(*asked[:1], clip, other, *asked[2:-2])
    assert both.returncode == 2 and "both would write" in both.stderr


@pytest.mark.slow
def test_the_last_blocks_of_the_encoder_learn_too(
    run_vmm: Vmm, squares: Path, tmp_path: Path
) -> None:
    wanted = ["rate_hz=2", "window_s=1", "width=8", "streams.image.train_last=1"]
    options = [part for one in wanted for part in ("--set", one)]
    document(
        run_vmm(
            "train", squares, "-o", "run", "-r", "frames", *options, "--epochs", "2", timeout=300
        )
    )
    size = (tmp_path / "run" / "weights.safetensors").stat().st_size
    assert 13e6 < size < 16e6, "it carries its own image encoder"
    clip = squares / "moving" / "00.mp4"
    asked = ("classify", clip, "--model", "run", "--explain", "--jobs", "1")
    first, kept, computed = (
        records(run_vmm(*asked, *more))[0] for more in ((), (), ("--no-store",))
    )
    assert first["status"] == "ok"
    assert first == kept == computed
    shown = document(run_vmm("models", "show", "./run"))
    everybodys = document(run_vmm("models", "show", "imagenet"))
    assert shown["encoders"]["image"]["name"] == everybodys["encoders"]["image"]["name"]
    assert shown["encoders"]["image"]["digest"] != everybodys["encoders"]["image"]["digest"]


# --- looking only -------------------------------------------------------------------------------


def test_check_looks_and_leaves_nothing(run_vmm: Vmm, tmp_path: Path) -> None:
    squares_folder(tmp_path / "data", 2, seconds=0.5)
    (tmp_path / "data" / "Moving").mkdir()
    squares_clip(tmp_path / "data" / "Moving" / "x.mp4", seed=9, seconds=0.5)
    looked = run_vmm("train", "data", "--check", "--jobs", "1")
    said = document(looked)
    assert said["n"] == 5 and set(said["labels"]) == {"Moving", "moving", "still"}
    assert {p["kind"] for p in said["problems"]} == {"label_case", "one_sample"}
    table = run_vmm("train", "data", "--check", "--jobs", "1", "--format", "table")
    assert "differs from 'moving' only in case" in table.stderr
    assert table.stdout.split("\n")[0].split() == ["label", "n"]
    facts = dict(line.split(maxsplit=1) for line in table.stdout.split("\n\n")[1].splitlines()[2:])
    assert facts["samples"].strip() == "5 in 5 files"
    assert facts["most"].split(maxsplit=1)[1] == "moving: 40 %, 2.0 times the rarest"
    assert facts["durations"].strip() == "0.5 to 0.5 s, median 0.5 s"
    assert "groups" not in facts and "folds" not in facts
    assert all(len(line.rstrip()) <= 60 for line in table.stdout.splitlines())
    (tmp_path / "data" / "still").rename(tmp_path / "still")
    (tmp_path / "data" / "Moving").rename(tmp_path / "Moving")
    one = run_vmm("train", "data", "--check", "--jobs", "1")
    assert one.returncode == 0 and "training needs two labels" in one.stderr


def test_check_tells_groups_and_folds(run_vmm: Vmm, tmp_path: Path) -> None:
    squares_folder(tmp_path / "data", 2, seconds=0.5)
    files = sorted((tmp_path / "data").rglob("*.mp4"))
    rows = (
        f"{path.relative_to(tmp_path)},{path.parent.name},g{i // 3},f{i % 2}"
        for i, path in enumerate(files)
    )
    (tmp_path / "m.csv").write_text("path,label,group,fold\n" + "\n".join(rows) + "\n")
    table = run_vmm("train", "m.csv", "--check", "--jobs", "1", "--format", "table")
    assert "2, of 1 to 3 samples" in table.stdout
    assert "f0: 2, f1: 2" in table.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "temporl=x"], "temporl: there is no such key"),
        (["--recipe", "nope"], "no recipe named 'nope'"),
        (["--epochs", "1000000"], "optimisation.epochs: 1000000 is not a whole number from 1"),
    ],
    ids=str,
)
def test_check_refuses_a_wrong_recipe(
    run_vmm: Vmm, tmp_path: Path, options: list[str], said: str
) -> None:
    squares_folder(tmp_path / "data", 1, seconds=0.3)
    refused = run_vmm("train", "data", "--check", *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 2, "-o RUN"),
        (["-o", "run", "--recipe", "defualt"], 2, "did you mean 'default'"),
        (["-o", "run", "--set", "temporal=ltsm"], 2, "did you mean 'lstm'"),
        (["-o", "run", "--set", "widht=3", "--set", "fusion=x"], 2, "2 mistakes"),
        (["-o", "run", "--set", "streams.image.train_last=99"], 2, "from 0 to 16"),
        (["-o", "bad name"], 2, "--name"),
        (["-o", "run", "--folds", "fold"], 1, "a folder has no column 'fold'"),
        (["-o", "data"], 2, "is there already"),
        (["-o", "run", "--seed", "-1"], 2, "whole number"),
    ],
    ids=str,
)
def test_what_is_asked_wrongly_is_refused_before_work(
    run_vmm: Vmm, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    squares_folder(tmp_path / "data", 1, seconds=0.3)
    refused = run_vmm("train", "data", *options)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_that_cannot_be_learnt_from_is_refused(
    run_vmm: Vmm, tones: Path, tmp_path: Path
) -> None:
    for label in ("a", "b"):
        (tmp_path / "broken" / label).mkdir(parents=True)
        (tmp_path / "broken" / label / "x.mp4").write_bytes(b"\0" * 4000)
    squares_clip(tmp_path / "one" / "a" / "x.mp4", seconds=0.3)
    rows = "path,label\nx.mp4,a/b\ny.mp4,..\n"
    (tmp_path / "names.csv").write_text(rows)
    for data, said in (
        ("broken", "no sample can be used"),
        ("one", "two labels"),
        ("names.csv", "reads as a path"),
        ("nowhere", "nowhere"),
    ):
        refused = run_vmm("train", data, "-o", "run", "-r", tones, "--jobs", "1")
        assert refused.returncode == 1, refused.stderr
        assert said in refused.stderr
        assert not (tmp_path / "run").exists()


# --- stopping and several processes -------------------------------------------------------------

# Long enough to be stopped, and checkpoints come each two seconds.
ENDLESS = TONES.replace("epochs: 12", "epochs: 1000, patience: 1000")


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    squares_folder(tmp_path / "data", 4, seconds=0.6, sound=True)
    (tmp_path / "long.yaml").write_text(ENDLESS)
    command = [sys.executable, "-m", "vmm_cli", "train", "data", "-r", "long.yaml", "--jobs", "1"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VMM_")}
    yield command, environment | {"VMM_CACHE_DIR": str(tmp_path / "cache")}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_goes_on_as_if_it_never_had_been(
    long_run: tuple[list[str], dict[str, str]], tmp_path: Path, number: signal.Signals
) -> None:
    command, env = long_run
    process = subprocess.Popen(
        [*command, "-o", "run"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    )
    checkpoint = tmp_path / "run" / ".training" / "model.safetensors"
    began = time.monotonic()
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() - began < 100
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert ("--resume" in said) == (number == signal.SIGINT)
    shutil.copytree(tmp_path / "run", tmp_path / "half")
    for refused in (["classify", "data", "--model", "half"], ["evaluate", "half", "data"]):
        ended = subprocess.run(
            [*command[:3], *refused], cwd=tmp_path, env=env, capture_output=True, check=False
        )
        assert ended.returncode == 1 and b"no model bundle" in ended.stderr

    def run(*options: str) -> dict[str, Any]:
        ended = subprocess.run(
            [*command, *options, "-v"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        metrics: dict[str, Any] = json.loads(ended.stdout)
        return metrics | {"stderr": ended.stderr}

    resumed = run("-o", "run", "--resume")
    assert "model: epoch 1:" not in resumed["stderr"]
    if number == signal.SIGINT:
        return
    whole = run("-o", "whole", "--name", "run")
    weights = {(tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "whole")}
    assert len(weights) == 1
    assert resumed["best_epoch"] == whole["best_epoch"]
    assert resumed["validation"] == whole["validation"]


@pytest.mark.slow
def test_two_processes_train_together(
    squares: Path, tones: Path, tmp_path: Path, run_vmm: Vmm
) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("VMM_")}
    env |= {"VMM_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    together = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    together += ["--nproc-per-node", "2", "-m", "vmm_cli", "train", str(squares), "-o", "run"]
    together += ["-r", str(tones), "--jobs", "1", "--device", "cpu"]
    ended = subprocess.run(
        together, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads(ended.stdout)
    assert metrics["validation"]["accuracy"] == 1
    again = subprocess.run(
        [*together, "--resume"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert again.returncode == 0 and json.loads(again.stdout) == metrics
    measured = document(run_vmm("evaluate", "run", squares, "--jobs", "1", "-o", "measured"))
    assert measured["n"] == 12 and measured["metrics"]["accuracy"] == 1
    assert (tmp_path / "measured" / "confusion.png").is_file()
