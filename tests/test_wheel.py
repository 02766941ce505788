"""The wheel alone, in an empty environment, from another folder, without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, timeout: float = 600, **env: str) -> str:
    done = subprocess.run(
        [os.fspath(word) for word in command],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def without_network() -> list[str]:
    """The words before a command that keep it from any network, where this user may do that."""
    unshare = shutil.which("unshare")
    if unshare:
        for words in ([unshare, "--net"], [unshare, "--user", "--net"]):
            if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
                return words
    pytest.skip("this user may not take a command off the network (unshare --net)")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_carries_the_models_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for model in ("imagenet", "tags", "fights", "objects", "pose", "sounds", "moderation"):
        assert f"vmm_cli/_models/{model}/weights.safetensors" in names
    assert "vmm_cli/_models/sounds/NOTICE" in names
    graphs = ("imagenet/graph", "fights/graph", "falls/graph.fused", "falls/graph.head")
    for graph in (*graphs, "sounds/graph", "moderation/graph"):
        assert f"vmm_cli/_models/{graph}.onnx" in names
    assert not [n for n in names if n.startswith(("tests/", "tools/", "benchmarks/"))]


@pytest.mark.slow
def test_the_wheel_works_alone_and_offline(wheel, bikes, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    home = {"HOME": str(elsewhere), "VMM_CACHE_DIR": str(elsewhere / "cache")}
    vmm = [*without_network(), venv / "bin" / "vmm"]
    record = json.loads(run(*vmm, "classify", bikes, cwd=elsewhere, **home))
    assert record["status"] == "ok"
    assert record["labels"][0]["score"] > 0.05
    run(*vmm, "extract-frames", bikes, "-o", "frames", "--contact-sheet", cwd=elsewhere, **home)
    assert (elsewhere / "frames" / "bikes.mp4" / "contact_sheet.jpg").is_file()
    models = json.loads(run(*vmm, "models", "list", "--format", "json", cwd=elsewhere, **home))
    assert "imagenet" in json.dumps(models)
