from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vmm_cli import bundles
from vmm_cli.bundles.bundle_file import without_graphs
from vmm_cli.errors import ModelError

PREPROCESS = {"short_side": 256, "crop": 224, "mean": 127.0, "scale": 128.0}
TENSORS = {"head.weight": np.eye(2, dtype=np.float32), "head.bias": np.zeros(2, np.float32)}


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "version": 3,
        "summary": "for tests",
        "task": "classes",
        "streams": ["image"],
        "encoders": {
            "image": {
                "name": "efficientnet-lite0",
                "sha256": "0" * 64,
                "preprocess": PREPROCESS,
            }
        },
        "network": {"head": "linear", "pool": "mean-probability"},
        "sampling": {"every_s": 0.5, "free": False},
        "thresholds": {},
        "licence": {"code": "Apache-2.0"},
        "labels": ["one", "two"],
    } | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundles.save(tmp_path / "small", fields(), TENSORS)
    return tmp_path / "small"


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "bundle.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    loaded = bundles.load(os.fspath(folder))
    assert (loaded.name, loaded.version, loaded.labels) == ("small", 3, ("one", "two"))
    assert loaded.sampling == bundles.SamplingSpec(0.5, free=False)
    assert loaded.encoders["image"].preprocess == PREPROCESS
    tensors = bundles.load_tensors(loaded, "head.")
    assert sorted(tensors) == ["bias", "weight"]
    np.testing.assert_array_equal(tensors["weight"], TENSORS["head.weight"])


def test_a_transposed_tensor_comes_back_as_it_was(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
    saved = bundles.save(tmp_path / "turned", fields(), {"weight": weight})
    np.testing.assert_array_equal(bundles.load_tensors(saved)["weight"], weight)


def test_the_packaged_model_is_whole() -> None:
    imagenet = bundles.load("imagenet")
    assert len(imagenet.labels) == 1000
    assert "espresso" in imagenet.labels
    assert imagenet.sampling.free
    tensors = bundles.load_tensors(imagenet, "encoders.image.")
    spec = imagenet.encoders["image"]
    assert bundles.encoder_digest(spec.name, spec.preprocess, tensors) == spec.digest
    assert (imagenet.folder / "weights.safetensors").stat().st_size <= 20e6
    for file in ("CARD.md", "recipe.yaml", "metrics.json"):
        assert (imagenet.folder / file).is_file()


def test_a_newer_schema_is_refused(folder: Path) -> None:
    rewrite(folder, schema="vmm.bundle/2")
    with pytest.raises(ModelError, match=r"newer than this vmm reads .* update vmm-cli"):
        bundles.load(os.fspath(folder))


@pytest.mark.parametrize("schema", ["vmm.bundle", "vmm.bundle/x", "other/1", None, 1])
def test_another_schema_is_refused(folder: Path, schema: object) -> None:
    rewrite(folder, schema=schema)
    with pytest.raises(ModelError, match="is no model bundle"):
        bundles.load(os.fspath(folder))


def test_exchanged_weights_are_refused(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    loaded = bundles.read(folder)
    for use in (bundles.verify, bundles.load_tensors):
        with pytest.raises(ModelError, match="digest is not the one"):
            use(loaded)


def test_a_pickle_is_refused_even_under_the_right_name_and_digest(folder: Path) -> None:
    import hashlib
    import zipfile

    path = folder / "weights.safetensors"
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with zipfile.ZipFile(folder / "as_torch.zip", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))
    for data in (path.read_bytes(), (folder / "as_torch.zip").read_bytes()):
        path.write_bytes(data)
        rewrite(
            folder,
            weights={"file": "weights.safetensors", "sha256": hashlib.sha256(data).hexdigest()},
        )
        with pytest.raises(ModelError, match=r"is a pickle.*safetensors only"):
            bundles.load(os.fspath(folder))


@pytest.mark.parametrize(
    "file", ["weights.pt", "../weights.safetensors", "/etc/passwd", "a/weights.safetensors", None]
)
def test_weights_of_another_name_are_refused(folder: Path, file: str | None) -> None:
    digest = yaml.safe_load((folder / "bundle.yaml").read_text())["weights"]["sha256"]
    rewrite(folder, weights={"file": file, "sha256": digest})
    with pytest.raises(ModelError, match="and nothing else"):
        bundles.load(os.fspath(folder))


@pytest.mark.parametrize("file", ["bundle.yaml", "weights.safetensors"])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelError, match=r"bundle\.yaml|weights\.safetensors: is missing"):
        bundles.load(os.fspath(folder))


def test_a_fifo_does_not_block(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    os.mkfifo(folder / "weights.safetensors")
    with pytest.raises(ModelError, match="not a regular file"):
        bundles.load(os.fspath(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../small"},
        {"name": ".hidden"},
        {"version": 0},
        {"version": True},
        {"task": "poems"},
        {"labels": ["one", "one"]},
        {"labels": "one"},
        {"undrawn": ["no label"]},
        {"undrawn": "one"},
        {"encoders": {"image": "efficientnet-lite0"}},
        {"sampling": {"every_s": 0, "free": True}},
        {"sampling": {"every_s": 1}},
        {"network": None},
        {"name": "a/b/c"},
        {"source": "elsewhere"},
        {"network": {"outputs": 3}},
    ],
)
def test_nonsense_is_neither_saved_nor_read(folder: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        bundles.save(folder.parent / "other", fields(**changes), TENSORS)
    rewrite(folder, **changes)
    with pytest.raises(ModelError):
        bundles.read(folder)


@pytest.mark.parametrize("text", ["", "[", "- a", "!!python/object:os.system {}", "\0", "a: *b"])
def test_what_is_no_yaml_of_fields_is_refused_in_one_line(folder: Path, text: str) -> None:
    (folder / "bundle.yaml").write_text(text)
    with pytest.raises(ModelError) as caught:
        bundles.read(folder)
    assert "\n" not in str(caught.value)


def test_names_are_found_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(folder.parent / "share"))
    own = bundles.user_models()
    shutil.copytree(folder, own / "small")
    assert bundles.find("small") == own / "small"
    monkeypatch.setenv("VMM_MODELS", f"/nowhere{os.pathsep}{folder.parent}")
    assert bundles.find("small") == folder
    monkeypatch.chdir(folder.parent)
    assert bundles.find("small") == Path("small")
    monkeypatch.chdir("/")
    assert bundles.find("imagenet").is_dir()


def test_a_family_of_models_lies_in_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder.parent / "models"
    shutil.copytree(folder, root / "family" / "small")
    shutil.copytree(folder, root / "family" / ".half-made")
    shutil.copytree(folder, root / "family" / "small" / "deeper")
    monkeypatch.setenv("VMM_MODELS", os.fspath(root))
    assert bundles.find("family/small") == root / "family" / "small"
    for text in ("as saved", "["):
        if text == "[":
            (root / "family" / "small" / "bundle.yaml").write_text(text)
        found = bundles.list_bundles()
        listed = [model.name for model in found if model.folder.is_relative_to(root)]
        assert listed == ["family/small"]
    for name in ("family/.half-made", "family/small/deeper", "family/../family/small", "family/"):
        with pytest.raises(ModelError, match="no model named"):
            bundles.find(name)


def test_a_copy_is_listed_by_the_name_it_is_found_by(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, folder.parent / "renamed")
    monkeypatch.setenv("VMM_MODELS", os.fspath(folder.parent))
    listed = {model.name: model.folder for model in bundles.list_bundles()}
    assert listed["small"] == folder
    assert listed["renamed"] == folder.parent / "renamed" == bundles.find("renamed")
    assert bundles.load("renamed").name == "small", "its records say what it was saved as"
    with pytest.raises(ModelError, match="did you mean 'renamed'"):
        bundles.find("rename")


def test_weights_know_labels_and_network(folder: Path) -> None:
    rewrite(folder, summary="another", thresholds={"one": 0.5})
    bundles.load(os.fspath(folder))
    for changes in (
        {"labels": ["two", "one"]},
        {"streams": ["audio"]},
        {"network": {"head": "linear", "pool": "mean-logit"}},
        {"network": {1: "linear", "pool": 2}},
    ):
        rewrite(folder, **(fields() | changes))
        with pytest.raises(ModelError):
            bundles.load(os.fspath(folder))


def test_weights_of_an_earlier_vmm_know_nothing_and_are_taken(folder: Path) -> None:
    import hashlib

    from safetensors.numpy import save_file

    save_file(TENSORS, folder / "weights.safetensors")
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    rewrite(folder, labels=["a", "b"], weights={"file": "weights.safetensors", "sha256": digest})
    assert bundles.load(os.fspath(folder)).labels == ("a", "b")


def test_names_have_one_word_or_two() -> None:
    assert bundles.is_name("imagenet") and bundles.is_name("torchvision/r2plus1d_18")
    for wrong in ("", "a/b/c", "/a", "a/", "../a", "a/..", ".a", "a/.b", "a b", "a\n"):
        assert not bundles.is_name(wrong), wrong


def test_what_was_fetched_says_where_from(tmp_path: Path) -> None:
    source = {"file": "x-01234567.pth", "sha256": "0" * 64}
    made = bundles.save(tmp_path / "a", fields(name="torchvision/x", source=source), TENSORS)
    assert (made.name, made.source) == ("torchvision/x", source)
    assert bundles.load("imagenet").source == {}


def test_an_unknown_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(ModelError, match=r"did you mean 'imagenet'\? See `vmm models list`"):
        bundles.find("imagnet")
    with pytest.raises(ModelError, match=r"did you mean 'torchvision/resnet18'\?"):
        bundles.find("resnet18")
    with pytest.raises(ModelError, match=r"no model named '\.\./imagenet'"):
        bundles.find("../imagenet")


def test_the_list_shows_broken_bundles_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = folder.parent / "broken"
    broken.mkdir()
    (broken / "bundle.yaml").write_text("schema: vmm.bundle/99\n")
    monkeypatch.setenv("VMM_MODELS", os.fspath(folder.parent))
    listed = {entry.name: entry for entry in bundles.list_bundles()}
    assert {"broken", "imagenet", "small"} <= set(listed)
    assert isinstance(listed["broken"], bundles.BrokenBundle)
    assert "newer" in listed["broken"].problem


def test_the_list_tells_of_weights_that_cannot_be_those_of_a_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = folder / bundles.WEIGHTS_FILE
    whole = weights.read_bytes()
    monkeypatch.setenv("VMM_MODELS", os.fspath(folder.parent))

    def problem() -> str:
        (found,) = (one for one in bundles.list_bundles() if one.name == folder.name)
        return found.problem if isinstance(found, bundles.BrokenBundle) else ""

    assert problem() == ""
    weights.write_bytes(whole[:-1])
    assert "by its header" in problem()
    weights.write_bytes(b"")
    assert "it is no safetensors" in problem()
    weights.unlink()
    assert problem() == f"{weights}: is missing"
    os.mkfifo(weights)
    assert "is not a regular file" in problem()


def test_packaged_models_are_found_in_a_checkout_and_in_a_wheel(tmp_path: Path) -> None:
    source = Path(bundles.__file__).parent.parent
    package = tmp_path / "vmm_cli"
    package.mkdir()
    for file in (
        "__init__.py",
        "errors.py",
        "suggest.py",
        "durable.py",
        "files.py",
        "plain_file.py",
        "plain_yaml.py",
        "tasks.py",
    ):
        shutil.copy(source / file, package)
    shutil.copytree(source / "bundles", package / "bundles")

    def found() -> str:
        code = (
            "import sys; from vmm_cli import bundles; print(bundles.packaged_models()); "
            "assert not {'torch', 'numpy', 'safetensors'} & set(sys.modules)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.fspath(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout.strip()

    assert found() == os.fspath(tmp_path / "models")
    (package / "_models").mkdir()
    assert found() == os.fspath(package / "_models")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_graphs_are_taken_out_of_a_description_however_its_lines_end(end: str) -> None:
    plain = f"a: 1{end}b: 2{end}"
    graphs = f"graphs:{end}  image:{end}    file: graph.onnx{end}    sha256: '0'"
    assert without_graphs(f"{plain}{graphs}".encode()) == plain.encode()
    assert without_graphs(f"{plain}{graphs}{end}c: 3".encode()) == f"{plain}c: 3".encode()
