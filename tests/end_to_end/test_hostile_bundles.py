"""Bundles and recipes by others: each bad one is a line, and hides no other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save as safetensors_bytes

from vmm_cli import bundles
from vmm_cli.errors import ModelError, RecipeError
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.recipe import to_yaml

MEMORY = 2**30
TENSORS = {"head.weight": np.eye(2, dtype=np.float32), "head.bias": np.zeros(2, np.float32)}


def fields() -> dict[str, Any]:
    encoder = {
        "name": "efficientnet-lite0",
        "sha256": "0" * 64,
        "preprocess": {"short_side": 256, "crop": 224, "mean": 127.0, "scale": 128.0},
    }
    return {
        "name": "good",
        "version": 1,
        "summary": "for tests",
        "task": "classes",
        "streams": ["image"],
        "encoders": {"image": encoder},
        "network": {"head": "linear", "pool": "mean-probability"},
        "sampling": {"every_s": 0.5, "free": False},
        "thresholds": {},
        "licence": {"code": "Apache-2.0"},
        "labels": ["one", "two"],
    }


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Path]:
    bundles.save(tmp_path / "models" / "good", fields(), TENSORS)
    yield tmp_path / "models"


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))
    return "\n".join(lines) + "\n"


# Of bundle.yaml: what is put in place of a text of a good one, and what is said.
TEXTS: dict[str, tuple[str, str, str]] = {
    "aliases": ("licence:", bomb() + "licence:", "aliases stand for too much"),
    "deep": ("network:", "x: " + "[" * 200_000 + "\nnetwork:", "nested more than 32 deep"),
    "digits": ("version: 1", "version: " + "9" * 5000, "a number of 5000 digits"),
    "sexagesimal": ("version: 1", "version: 12:30:45", "its version '12:30:45' is not"),
    "sexagesimal-step": ("every_s: 0.5", "every_s: 1:30", "step '1:30' is not a number"),
    "short-step": ("every_s: 0.5", "every_s: 1.0e-300", "is not a number of seconds"),
    "threshold": ("thresholds: {}", "thresholds: {score: .nan}", "no finite number"),
    "score": ("thresholds: {}", "thresholds: {score: 5}", "its threshold 5 is not between 0 and 1"),
    "temperature": ("thresholds: {}", "thresholds: {temperature: 0}", "is not above 0"),
    "preprocess": ("mean: 127.0", "mean: -.inf", "no finite number"),
    "network": ("pool:", "width: .inf\n  pool:", "no finite number"),
    "twice": ("version: 1", "version: 1\nversion: 2", "'version' is given a second time"),
    "object": ("version: 1", "version: !!python/name:os.system", "is not read"),
    "long-name": ("name: good", "name: " + "x" * 500_000, "is not made of letters"),
    "huge": ("version: 1", "version: 1\n" + "#" * 5_000_000, "is larger than 4 MiB"),
    "values": ("labels:", "x: [" + "1," * 100_000 + "]\nlabels:", "more than 50000 values"),
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(here)


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (fifo, "is not a regular file"),
    "device": (device, "is not a regular file"),
    "socket": (listening_socket, "is not a regular file"),
    "folder": (Path.mkdir, "Is a directory"),
    "link": (nowhere, "is missing"),
}


def test_each_bad_bundle_is_one_line_and_hides_no_other(run_vmm: Any, models: Path) -> None:
    wanted = {}
    for name, (old, new, said) in TEXTS.items():
        shutil.copytree(models / "good", models / name)
        file = models / name / "bundle.yaml"
        text = file.read_text()
        assert text.count(old) == 1, name
        file.write_text(text.replace(old, new))
        wanted[name] = said
    for name, (make, said) in KINDS.items():
        (models / name).mkdir()
        make(models / name / "bundle.yaml")
        wanted[name] = said
    for format in ("json", "table"):
        done = run_vmm(
            *("models", "list", "--format", format),
            env={"VMM_MODELS": str(models)},
            memory_bytes=MEMORY,
        )
        assert (done.returncode, done.stderr) == (0, "")
        if format == "table":
            assert {name for name in (*wanted, "good") if f"\n{name} " in done.stdout} == {
                *wanted,
                "good",
            }
            assert max(map(len, done.stdout.splitlines())) < 500
            continue
        listed = {model["name"]: model["problem"] for model in json.loads(done.stdout)}
        assert listed["good"] is None and listed["imagenet"] is None
        for name, said in wanted.items():
            assert said in listed[name], name
            assert len(listed[name]) < 500 and "\n" not in listed[name]


@pytest.mark.parametrize("value", ["wide", "[1, 2]"])
def test_settings_that_are_no_numbers_are_one_line(
    run_vmm: Any, models: Path, bikes: Path, value: str
) -> None:
    shutil.copytree(models / "good", models / "bad")
    file = models / "bad" / "bundle.yaml"
    file.write_text(file.read_text().replace("mean: 127.0", f"mean: {value}"))
    for command in ("classify", "detect-actions"):
        done = run_vmm(command, bikes, "-m", models / "bad")
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert "its image encoder is unusable" in line


@pytest.mark.parametrize("name", ["aliases", "fifo"])
def test_a_bad_bundle_that_is_named_is_one_line(
    run_vmm: Any, models: Path, bikes: Path, name: str
) -> None:
    shutil.copytree(models / "good", models / "bad")
    file = models / "bad" / "bundle.yaml"
    if name in TEXTS:
        old, new, said = TEXTS[name]
        file.write_text(file.read_text().replace(old, new))
    else:
        make, said = KINDS[name]
        file.unlink()
        make(file)
    for command in (["models", "show", models / "bad"], ["classify", bikes, "-m", models / "bad"]):
        done = run_vmm(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr and done.stderr.count("\n") == 1


def with_weights(models: Path, data: bytes, length: int | None = None) -> None:
    """Give the good bundle other weights, and the digest of what they begin with."""
    weights, file = (models / "good" / name for name in ("weights.safetensors", "bundle.yaml"))
    weights.write_bytes(data)
    if length is not None:
        os.truncate(weights, length)
    about = yaml.safe_load(file.read_text())
    about["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    file.write_text(yaml.safe_dump(about))


def header(fields: Any, rest: bytes = b"") -> bytes:
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + rest


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    ("data", "length", "said"),
    [
        (safetensors_bytes(TENSORS), 19 * 10**8, "has 1900000000 bytes, and"),
        (b"\0" * 8 + b"{}", None, "no safetensors"),
        (header({}, b"more"), None, "has 14 bytes, and 10 by its header"),
        (header(tensor([2], 0, 8)), None, "by its header"),
        (header(tensor([10**12], 0, 4 * 10**12)), None, "and 4000000000"),
        (header(tensor([10**9], 0, 8), b"\0" * 8), None, "is not readable as safetensors"),
        (header(tensor([2], 4, 12), b"\0" * 12), None, "is not readable as safetensors"),
        (header(tensor([2], 0, 8, "F99"), b"\0" * 8), None, "is not readable as safetensors"),
        (header(tensor([4], 0, 8, "BF16"), b"\0" * 8), None, "a type that is not read: 'BF16'"),
        (header({"w": {"dtype": "F32", "shape": [], "data_offsets": ["a", "b"]}}), None, "header"),
        (header({"w": 5}), None, "its header is not that of safetensors"),
        (header(b'{"w":' + b"[" * 100_000), None, "its header is not that of safetensors"),
        (header(b'{"w":{"data_offsets":[0,' + b"9" * 5000 + b"]}}"), None, "header"),
        (header(b"{" + b" " * 5_000_000 + b"}"), None, "its header is larger than 4 MiB"),
        (header(tensor([2], 0, 8), b"\xff" * 8), None, "no finite numbers"),
        ((2**60).to_bytes(8, "little") + b"{}", None, "no safetensors"),
        (b"", None, "no safetensors"),
    ],
)
def test_weights_that_lie_are_one_line(
    models: Path, data: bytes, length: int | None, said: str
) -> None:
    with_weights(models, data, length)
    with pytest.raises(ModelError) as caught:
        bundles.load_tensors(bundles.load(str(models / "good")))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_weights_that_are_holes_are_not_read(run_vmm: Any, models: Path) -> None:
    for length, said in (
        (7 * 10**9, "is larger than 2 GiB"),
        (2 * 10**9, "has 2000000000 bytes, and"),
    ):
        with_weights(models, safetensors_bytes(TENSORS), length)
        done = run_vmm("models", "show", models / "good", memory_bytes=MEMORY)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr and done.stderr.count("\n") == 1


# --- recipes and configuration -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "aliases", "huge"])
def test_a_recipe_or_configuration_of_any_kind_is_one_line(
    run_vmm: Any, tmp_path: Path, bikes: Path, kind: str
) -> None:
    (tmp_path / "clips").mkdir()
    file = tmp_path / "given.yaml"
    if kind == "fifo":
        os.mkfifo(file)
    else:
        file.write_text(bomb() if kind == "aliases" else to_yaml(load_recipe("default")) * 3000)
    said = {"fifo": KINDS["fifo"][1], "aliases": "aliases stand", "huge": "is larger than 1 MiB"}
    for command in (
        ["train", tmp_path / "clips", "-o", tmp_path / "run", "--recipe", file],
        ["info", bikes, "--config", file],
    ):
        done = run_vmm(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert said[kind] in done.stderr and len(done.stderr) < 700
        assert "internal" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_recipe_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    make, said = KINDS[kind]
    make(tmp_path / "recipe.yaml")
    with pytest.raises(RecipeError, match="No such file" if kind == "link" else said):
        load_recipe(str(tmp_path / "recipe.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "streams: {image: }\nrate_hz: 12:30:45\n",
        "streams: {image: }\nwidth: " + "9" * 5000 + "\n",
        "streams: {image: }\nrate_hz: .nan\n",
        "streams: {image: }\nwindow_s: 1e999999999\n",
        "".join(f"key{i}: 1\n" for i in range(20_000)),
        "streams: {" + ", ".join(f"key{i}: 1" for i in range(20_000)) + "}\n",
        "streams: {image: }\n" + "x" * 400_000 + ": 1\n",
        "width: 1\n" * 20_000,
    ],
    ids=["sexagesimal", "digits", "nan", "exponent", "keys", "streams", "long key", "twice"],
)
def test_a_recipe_of_nonsense_is_told_shortly(tmp_path: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "recipe.yaml"))
    assert len(str(caught.value)) < 4000


@pytest.mark.parametrize("text", ["min-score: .nan", "jobs: 1\njobs: 2", "jobs: " + "9" * 5000])
def test_a_configuration_of_nonsense_is_one_line(
    run_vmm: Any, tmp_path: Path, bikes: Path, text: str
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    done = run_vmm("info", bikes, "--config", tmp_path / "c.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path / "c.yaml") in done.stderr and len(done.stderr) < 400
