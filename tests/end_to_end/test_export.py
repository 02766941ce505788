"""`vmm export`: what it writes gives vmm's labels in an environment without vmm and PyTorch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.command import Vmm
from tests.exports.bad_models import operator, with_graph
from tests.exports.windows_model import windows_model
from tests.random_weights import random_weights
from tests.squares import squares_clip
from vmm_cli.exports import read
from vmm_cli.exports.example import MAX_LINES
from vmm_cli.media.video import Video

ORT = ("onnxruntime", "flatbuffers", "google", "packaging", "sympy", "mpmath", "coloredlogs")
OPENVINO = ("openvino", "openvino_telemetry")


def alone(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """An environment for Python that has some packages and what they need, and no others."""
    folder.mkdir()
    for name in ("numpy", "av", *packages):
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or ())
        if not places:
            continue
        place = Path(places[0])
        os.symlink(place, folder / name)
        libraries = place.parent / f"{name}.libs"
        if libraries.is_dir():
            os.symlink(libraries, folder / libraries.name)
    return {"PYTHONPATH": os.fspath(folder), "PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def labels_of_example(folder: Path, video: Path, env: dict[str, str]) -> dict[str, float]:
    """What the example prints, run without what is installed: -S leaves out site-packages."""
    for absent in ("vmm_cli", "torch"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({absent!r}) is None)"
        assert subprocess.run([sys.executable, "-S", "-c", code], env=env, cwd="/").returncode == 1
    run = [sys.executable, "-S", folder / "example.py", video]
    done = subprocess.run(run, env=env, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("  ", 1) for line in done.stdout.splitlines()]
    return {label: float(score) for score, label in rows}


def labels_of_vmm(run_vmm: Vmm, video: Path, model: str | Path = "imagenet") -> dict[str, float]:
    done = run_vmm("classify", video, "--model", model, "--no-store")
    assert done.returncode == 0, done.stderr
    return {one["label"]: one["score"] for one in json.loads(done.stdout)["labels"]}


def same(found: dict[str, float], wanted: dict[str, float], tolerance: float = 0.01) -> None:
    assert list(found) == list(wanted)
    assert list(found.values()) == pytest.approx(list(wanted.values()), abs=tolerance)


def test_the_example_gives_vmm_s_labels_without_vmm_and_torch(
    run_vmm: Vmm, bikes: Path, bunny: Path, tmp_path: Path
) -> None:
    done = run_vmm("export", "imagenet", "-o", "out")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out"
    document = json.loads(done.stdout)
    assert document["bytes"]["before"] == (folder / "model.onnx").stat().st_size
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "labels.txt", "preprocessing.json", "CARD.md", "example.py"),
        "export.yaml",
    }
    program = (folder / "example.py").read_text()
    assert len(program.splitlines()) <= MAX_LINES
    assert str(tmp_path) not in (folder / "export.yaml").read_text()
    env = alone(tmp_path / "packages", ORT)
    for video in (bikes, bunny):
        same(labels_of_example(folder, video, env), labels_of_vmm(run_vmm, video), 1e-4)


def test_halved_weights_take_half_the_space_and_are_compared(
    run_vmm: Vmm, bikes: Path, bunny: Path, tmp_path: Path
) -> None:
    done = run_vmm(
        *("export", "imagenet", "-o", "out", "--precision", "fp16"),
        *("--calibrate", bikes, "--calibrate", "nothing.mp4", "--calibrate", bunny),
    )
    assert done.returncode == 3  # one of the videos is not there
    assert "nothing.mp4: missing" in done.stderr
    document = json.loads(done.stdout)
    assert document["bytes"]["after"] < 0.52 * document["bytes"]["before"]
    alike = document["agreement"]
    assert alike["pictures"] > 40
    assert alike["first_label_equal"] > 0.95 and alike["largest_difference"] < 0.05
    assert document["calibrated_on"] == 0
    assert "first label equal" in (tmp_path / "out" / "CARD.md").read_text()


@pytest.mark.slow
def test_int8_is_smaller_and_agrees(run_vmm: Vmm, bikes: Path, bunny: Path, tmp_path: Path) -> None:
    done = run_vmm(
        *("export", "imagenet", "-o", "out", "--precision", "int8"),
        *("--calibrate", bikes, "--calibrate", bunny),
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["bytes"]["after"] < 0.35 * document["bytes"]["before"]
    assert document["calibrated_on"] > 40
    assert document["agreement"]["first_label_equal"] > 0.7  # another kind of film
    found = labels_of_example(tmp_path / "out", bunny, alone(tmp_path / "packages", ORT))
    assert next(iter(found)) == "albatross"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "int8"], "--calibrate"),
        (["--precision", "int8", "--format", "torch", "--calibrate", "x"], "onnx and openvino"),
    ],
)
def test_options_that_contradict_each_other(
    run_vmm: Vmm, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.mp4").touch()
    done = run_vmm("export", "imagenet", "-o", "out", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and not (tmp_path / "out").exists()


def test_videos_that_cannot_be_read(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    wanted = ("export", "imagenet", "-o", "out", "--precision", "int8", "--calibrate")
    done = run_vmm(*wanted, "a.mp4")
    assert done.returncode == 1
    assert "no video to calibrate with can be read: a.mp4" in done.stderr
    (tmp_path / "empty").mkdir()
    assert run_vmm(*wanted, "empty").returncode == 4
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_what_is_there_is_not_replaced(run_vmm: Vmm, tmp_path: Path) -> None:
    export = ("export", "imagenet", "-o", "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        done = run_vmm(*export, *more)
        assert done.returncode == 2
        assert "out: is there, and is no export; choose another -o" in done.stderr
    (tmp_path / "out" / "mine.txt").unlink()
    assert run_vmm(*export).returncode == 0
    done = run_vmm(*export)
    assert done.returncode == 2 and "give --overwrite" in done.stderr
    assert run_vmm(*export, "--overwrite").returncode == 0
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = run_vmm(*export, "--overwrite")
    assert done.returncode == 2 and "'mine.txt'" in done.stderr


def test_models_that_cannot_be_exported(run_vmm: Vmm, tmp_path: Path) -> None:
    reasons = {
        "fights": "sees of a video: image, motion",
        "falls": "it is for segments",
        "tags": "it joins networks",
        "sounds": "it hears sounds",
    }
    for model, why in reasons.items():
        done = run_vmm("export", model, "-o", "out")
        assert done.returncode == 1
        assert f"model {model!r} cannot be exported: " in done.stderr and why in done.stderr
        assert "What can: imagenet" in done.stderr
    shutil.copytree(Path("models/imagenet").resolve(), tmp_path / "m")
    with (tmp_path / "m" / "weights.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"1234")
    done = run_vmm("export", "m", "-o", "out")
    assert done.returncode == 1
    assert "weights.safetensors: refused" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_is_told_before_a_video_is_opened(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with_graph(tmp_path / "bad", operator)
    more = ("-o", "out", "--precision", "int8", "--calibrate", "a.mp4")
    done = run_vmm("export", "bad", *more)
    assert done.returncode == 1 and "model 'bad': its graph is refused" in done.stderr
    done = run_vmm("export", "imagenet", *more, env={"VMM_ENGINE": "abacus"})
    assert done.returncode == 2 and "VMM_ENGINE is 'abacus'" in done.stderr
    assert "a.mp4" not in done.stderr


def digest_again(folder: Path, name: str) -> None:
    """Give an export another file's true digest."""
    said = yaml.safe_load((folder / "export.yaml").read_text())
    said["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "export.yaml").write_text(yaml.safe_dump(said, sort_keys=False))


def test_an_export_can_be_evaluated(run_vmm: Vmm, bikes: Path, tmp_path: Path) -> None:
    assert run_vmm("export", "imagenet", "-o", "out").returncode == 0
    (tmp_path / "rows.csv").write_text(f"path,label\n{bikes},unicycle\n")
    measured = [
        json.loads(run_vmm("evaluate", model, "rows.csv", "--jobs", "1", "--no-store").stdout)
        for model in ("imagenet", "out")
    ]
    assert [one["metrics"]["accuracy"] for one in measured] == [1, 1]
    assert measured[1]["model"]["name"] == "imagenet:onnx-fp32"
    (tmp_path / "out" / "labels.txt").write_text("edited")
    done = run_vmm("evaluate", "out", "rows.csv")
    assert done.returncode == 1
    assert "labels.txt has another SHA-256 digest" in done.stderr
    (tmp_path / "out" / "labels.txt").write_text("unicycle\ncup")
    digest_again(tmp_path / "out", "labels.txt")
    done = run_vmm("evaluate", "out", "rows.csv")
    assert done.returncode == 1
    assert "model.onnx: is of another network: it gives float32[1, 1000], and not" in done.stderr
    os.truncate(tmp_path / "out" / "model.onnx", 2**31 + 1)
    done = run_vmm("evaluate", "out", "rows.csv")
    assert done.returncode == 1 and "model.onnx is larger than 2 GiB" in done.stderr


@pytest.mark.parametrize("multi_label", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_of_windows_gives_its_labels(
    run_vmm: Vmm, bunny: Path, tmp_path: Path, multi_label: bool
) -> None:
    windows_model(tmp_path / "mine", multi_label=multi_label)
    short = squares_clip(tmp_path / "short.mp4", seconds=0.9)
    done = run_vmm("export", "mine", "-o", "out", "--calibrate", short)
    assert done.returncode == 0, done.stderr
    alike = json.loads(done.stdout)["agreement"]
    assert alike["pictures"] == 4 and alike["largest_difference"] < 1e-4
    env = alone(tmp_path / "packages", ORT)
    exported = read.load(str(tmp_path / "out"))
    for video in (bunny, short):  # 5.3 and 0.9 s: windows that end with the video
        wanted = labels_of_vmm(run_vmm, video, "mine")
        assert (sum(wanted.values()) == pytest.approx(1, abs=1e-3)) is not multi_label
        same(labels_of_example(tmp_path / "out", video, env), wanted, 1e-4)
        found = read.probabilities(exported, Video(video))
        assert dict(zip(exported.labels, found, strict=True)) == pytest.approx(wanted, abs=1e-5)
    done = run_vmm("export", "mine", "-o", "other", "--format", "torch")
    assert done.returncode == 1 and "for onnx and openvino alone" in done.stderr


@pytest.mark.slow
def test_a_trained_model_whose_encoder_learnt(
    run_vmm: Vmm, squares: Path, bunny: Path, tmp_path: Path
) -> None:
    settings = ("window_s=3", "optimisation.epochs=2", "streams.image.train_last=1")
    wanted = [word for one in settings for word in ("--set", one)]
    done = run_vmm("train", squares, "-o", "mine", "--recipe", "frames", *wanted)
    assert done.returncode == 0, done.stderr
    assert run_vmm("export", "mine", "-o", "out").returncode == 0
    env = alone(tmp_path / "packages", ORT)
    labels = labels_of_vmm(run_vmm, bunny, "mine")
    same(labels_of_example(tmp_path / "out", bunny, env), labels, 1e-4)
    done = run_vmm("evaluate", "out", squares, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    done = run_vmm(
        *("export", "mine", "-o", "small", "--precision", "int8", "--calibrate", bunny),
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    found = labels_of_example(tmp_path / "small", bunny, env)
    assert found == pytest.approx(labels, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision/mobilenet_v3_large", "torchvision/r3d_18"])
def test_pictures_and_clips_as_torchvision_sees_them(
    run_vmm: Vmm, bunny: Path, tmp_path: Path, name: str
) -> None:
    weights = random_weights(name, tmp_path)
    assert run_vmm("models", "fetch", name, "--from", weights).returncode == 0
    env = alone(tmp_path / "packages", ORT)
    done = run_vmm("export", name, "-o", "out", timeout=900)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out" / "example.py").read_text().splitlines()) <= MAX_LINES
    same(labels_of_example(tmp_path / "out", bunny, env), labels_of_vmm(run_vmm, bunny, name))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_export_for_pytorch(run_vmm: Vmm, bikes: Path, tmp_path: Path, precision: str) -> None:
    done = run_vmm(
        *("export", "imagenet", "-o", "out", "--format", "torch", "--precision", precision),
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    run = [sys.executable, tmp_path / "out" / "example.py", bikes]
    printed = subprocess.run(run, cwd="/", capture_output=True, text=True, check=True).stdout
    found = {
        label: float(score) for score, label in (r.split("  ", 1) for r in printed.splitlines())
    }
    wanted = labels_of_vmm(run_vmm, bikes)
    assert next(iter(found)) == next(iter(wanted))
    assert np.abs(next(iter(found.values())) - next(iter(wanted.values()))) < 0.01
    done = run_vmm("evaluate", "out", "rows.csv")
    assert done.returncode == 1 and "can run code" in done.stderr


@pytest.mark.extra("openvino")
def test_an_export_for_openvino(run_vmm: Vmm, bunny: Path, tmp_path: Path) -> None:
    done = run_vmm("export", "imagenet", "-o", "out", "--format", "openvino")
    assert done.returncode == 0, done.stderr
    found = labels_of_example(tmp_path / "out", bunny, alone(tmp_path / "packages", OPENVINO))
    same(found, labels_of_vmm(run_vmm, bunny))


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="openvino is there")
def test_a_runtime_that_is_missing(run_vmm: Vmm, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    more = ("--format", "openvino", "--calibrate", "a.mp4")
    done = run_vmm("export", "imagenet", "-o", "out", *more)
    assert done.returncode == 1 and "a.mp4" not in done.stderr
    assert "pip install 'vmm-cli[openvino]'" in done.stderr
    assert not list(tmp_path.glob("*out*"))
