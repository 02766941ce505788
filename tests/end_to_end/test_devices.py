"""`--device`: the GPU gives what the CPU gives, and its absence is told alike by every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.squares import squares_clip

Vmm = Callable[..., subprocess.CompletedProcess[str]]

HAS_CUDA = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def has_cuda() -> bool:
    if not any(map(Path.exists, map(Path, ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg")))):
        return False
    return subprocess.run([sys.executable, "-c", HAS_CUDA], check=False).returncode == 0


def labels(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, float]]:
    assert result.returncode == 0, result.stderr
    records: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    return {r["input"]: {x["label"]: x["score"] for x in r["labels"]} for r in records}


def test_cuda_agrees_with_cpu(run_vmm: Vmm, bikes: Path, bunny: Path) -> None:
    if not has_cuda():
        pytest.skip("there is no CUDA device that PyTorch can use")
    shared = ("classify", bikes, bunny, "--every", "0.1", "--no-store", "-k", "1000")
    on_cpu = labels(run_vmm(*shared, "--device", "cpu"))
    for device in ("cuda", "auto"):
        on_gpu = labels(run_vmm(*shared, "--device", device))
        assert on_gpu.keys() == on_cpu.keys() and len(on_cpu) == 2
        for name, scores in on_cpu.items():
            assert on_gpu[name] == pytest.approx(scores, abs=1e-2)


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "{clip}", "--count", "1"),
        ("classify", "{clip}", "-m", "fights"),
        ("detect-actions", "{clip}", "-m", "fights"),
        ("detect-actions", "{clip}", "-m", "falls"),
        ("detect-actions", "{clip}", "-m", "imagenet"),
        ("evaluate", "fights", "{data}"),
        ("train", "{data}", "-o", "run"),
    ],
    ids=" ".join,
)
def test_cuda_where_there_is_none_is_refused_alike(
    run_vmm: Vmm, bikes: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    if has_cuda():
        pytest.skip("this machine has a CUDA device")
    for label in ("fight", "no_fight"):
        for i in range(3):
            squares_clip(tmp_path / "data" / label / f"{i}.mp4", seed=i)
    places = {"clip": bikes, "data": tmp_path / "data"}
    words = [word.format(**places) for word in command]
    result = run_vmm(*words, "--device", "cuda")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "device cuda: this machine has no GPU driver; see `vmm doctor`" in line
    assert not (tmp_path / "run").exists()


def test_experts_of_sentiment_run_on_the_cpu(run_vmm: Vmm, bikes: Path) -> None:
    """With a warning and no refusal: $VMM_DEVICE is for all commands."""
    result = run_vmm("sentiment", bikes, "--evidence", "text", "--device", "cuda")
    assert result.returncode == 0
    assert "the experts run on the CPU" in result.stderr
