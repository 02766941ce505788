"""What runs on the CPU without PyTorch: the real commands, where it cannot be imported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.command import Vmm

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
    assert _rounded(json.loads(by_torch.stdout)) == _rounded(record)


def test_pytorch_is_what_there_is_without_a_graph(
    run_vmm: Vmm, bikes: Path, no_torch: dict[str, str]
) -> None:
    """So that the tests above would notice PyTorch."""
    done = run_vmm("classify", bikes, "--no-store", env={**no_torch, "VMM_ENGINE": "torch"})
    assert done.returncode != 0
    assert "torch is not to be imported" in done.stderr


def test_another_engine_is_told(run_vmm: Vmm, bikes: Path) -> None:
    done = run_vmm("classify", bikes, "--no-store", env={"VMM_ENGINE": "abacus"})
    assert done.returncode != 0
    assert "VMM_ENGINE is 'abacus'; it is auto, torch or onnxruntime" in done.stderr


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items() if key != "elapsed_s"}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return value
