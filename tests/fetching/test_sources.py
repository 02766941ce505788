"""Sources of models: another place than torchvision is one module, and nothing else changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.fetching import fetch, sources
from vmm_cli.fetching.published_file import PublishedFile

NAME = "elsewhere/two"
DATA = np.eye(2, dtype=np.float32).tobytes()
FIELDS = {
    "version": 1,
    "task": "classes",
    "streams": ["image"],
    "encoders": {"image": {"name": "x", "sha256": "0" * 64, "preprocess": {}}},
    "network": {},
    "sampling": {"every_s": 1.0, "free": True},
    "licence": {},
    "labels": ["one", "two"],
}


@dataclass(frozen=True)
class Elsewhere:
    """Publishes bare numbers under names without a digest."""

    def names(self) -> list[str]:
        return [NAME]

    def file_of(self, name: str) -> PublishedFile:
        digest = hashlib.sha256(DATA).hexdigest()
        return PublishedFile("https://nowhere.invalid/two.bin", 1, digest)

    def digest_in(self, file_name: str) -> None:
        return None

    def make_bundle(self, name: str, file: Path, about: Mapping[str, str], folder: Path) -> None:
        weight = np.frombuffer(file.read_bytes(), np.float32).reshape(2, 2)
        fields = {**FIELDS, "name": name, "source": dict(about)}
        bundles.save(folder, fields, {"head.weight": weight})

    def runs_as_graph(self, name: str) -> bool:
        return False

    def with_graphs(self, bundle: bundles.Bundle) -> bundles.Bundle:
        return bundle


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMM_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path / "share"))
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, Elsewhere()))


def fetched(file: Path) -> fetch.Fetched:
    return fetch.fetch(NAME, os.fspath(file), on_progress=lambda *at: None)


def test_a_model_of_another_source_is_fetched(tmp_path: Path) -> None:
    file = tmp_path / "two.bin"
    file.write_bytes(DATA)
    done = fetched(file)
    assert done.is_original
    assert (done.graphed, done.no_graph) == (False, "")
    assert done.bundle.source == {"file": "two.bin", "sha256": hashlib.sha256(DATA).hexdigest()}
    weight = bundles.load_tensors(bundles.load(NAME))["head.weight"]
    assert np.array_equal(weight, np.eye(2))


def test_its_file_is_held_to_the_digest_that_is_published(tmp_path: Path) -> None:
    file = tmp_path / "two.bin"
    file.write_bytes(DATA[::-1])
    with pytest.raises(ModelError, match=r"two\.bin: refused: its SHA-256 begins with"):
        fetched(file)


def test_names_are_those_of_all_sources() -> None:
    assert NAME in sources.fetchable()
    assert "torchvision/resnet18" in sources.fetchable()
    with pytest.raises(ModelError, match=f"did you mean '{NAME}'"):
        fetch.fetch("elsewhere/tow", on_progress=lambda *at: None)
