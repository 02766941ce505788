from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vmm_cli.encoders import store
from vmm_cli.encoders.features import Features
from vmm_cli.errors import UsageError
from vmm_cli.identity import FileIdentity
from vmm_cli.media import sampling

IDENTITY = FileIdentity(size=5, mtime_ns=7, content="ab" * 32)
ENTRY = store.Entry(
    Features(np.array([0.0, 1.5]), np.arange(8, dtype=np.float32).reshape(2, 4)), 2.25
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path / "cache"))
    monkeypatch.delenv("VMM_CACHE_LIMIT_GB", raising=False)
    monkeypatch.setattr(store, "_written_since_check", None)
    return tmp_path / "cache"


def a_key(n: int = 0) -> str:
    return store.key(replace(IDENTITY, size=n), "digest", sampling.every(1))


def entry_file(key: str) -> Path:
    return store.folder() / key[:2] / f"{key}.safetensors"


def test_what_is_saved_is_what_is_loaded() -> None:
    assert store.load(a_key()) is None
    store.save(a_key(), ENTRY)
    loaded = store.load(a_key())
    assert loaded is not None
    assert loaded.end_s == 2.25
    np.testing.assert_array_equal(loaded.features.times, ENTRY.features.times)
    np.testing.assert_array_equal(loaded.features.values, ENTRY.features.values)


def test_no_picture_and_no_end_can_be_kept() -> None:
    store.save(a_key(), store.Entry(Features(np.empty(0), np.empty((0, 4), np.float32)), None))
    loaded = store.load(a_key())
    assert loaded is not None and len(loaded.features) == 0 and loaded.end_s is None


def test_the_key_depends_on_all_it_must() -> None:
    plans = [
        sampling.every(1),
        sampling.every(2),
        sampling.every(1, start=1),
        sampling.every(1, end=9),
        sampling.every(Fraction(1, 3)),
        sampling.count(1),
        sampling.at([1]),
        sampling.at([1, 2]),
    ]
    keys = {store.key(IDENTITY, "digest", plan) for plan in plans}
    keys.add(store.key(IDENTITY, "other", plans[0]))
    keys |= {
        store.key(replace(IDENTITY, **change), "digest", plans[0])  # type: ignore[arg-type]
        for change in ({"size": 6}, {"mtime_ns": 8}, {"content": "cd" * 32})
    }
    assert len(keys) == len(plans) + 4


def test_only_the_user_can_look_inside(cache: Path) -> None:
    store.folder().mkdir(parents=True, mode=0o755)
    store.save(a_key(), ENTRY)
    assert store.folder().stat().st_mode & 0o777 == 0o700
    assert entry_file(a_key()).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty", "text", "link", "folder"])
def test_a_damaged_entry_is_a_miss_and_goes(kind: str, tmp_path: Path) -> None:
    store.save(a_key(), ENTRY)
    path = entry_file(a_key())
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "elsewhere").write_text("mine")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        cases = {"flipped": data, "cut": data[:-9], "empty": b"", "text": b"no tensors here"}
        path.write_bytes(cases[kind])
    assert store.load(a_key()) is None
    assert not path.exists() and not path.is_symlink()
    if kind == "link":
        assert (tmp_path / "elsewhere").read_text() == "mine"


def test_the_least_recently_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for n in range(10):
        store.save(a_key(n), ENTRY)
        os.utime(entry_file(a_key(n)), (now - 100 + n, now - 100 + n))
    size = entry_file(a_key(0)).stat().st_size
    assert store.load(a_key(0)) is not None  # used just now
    monkeypatch.setenv("VMM_CACHE_LIMIT_GB", str(size * 6 / 1e9))
    store.save(a_key(10), ENTRY)
    left = {n for n in range(11) if entry_file(a_key(n)).exists()}
    assert left == {0, 10, 9, 8, 7}  # 5 of them fill 0.9 of the cap
    assert store.info().size_bytes <= store.info().limit_bytes


def test_nothing_is_kept_where_the_cap_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_CACHE_LIMIT_GB", "0")
    store.save(a_key(), ENTRY)
    assert store.info().entries == 0


@pytest.mark.parametrize("text", ["ten", "-1", "nan"])
def test_a_cap_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_CACHE_LIMIT_GB", text)
    with pytest.raises(UsageError, match="VMM_CACHE_LIMIT_GB"):
        store.info()


def test_clear_removes_entries_and_nothing_else(cache: Path) -> None:
    for n in range(3):
        store.save(a_key(n), ENTRY)
    other = store.folder() / "aa"
    other.mkdir(exist_ok=True)
    (other / "mine.txt").write_text("mine")
    (other / ".left.tmp").write_text("of a killed run")
    before = store.clear()
    assert before.entries == 3
    assert before.size_bytes > 0
    assert store.info().entries == 0
    assert (other / "mine.txt").exists()
    assert not (other / ".left.tmp").exists()


def test_an_absent_store_is_empty() -> None:
    assert store.info().entries == 0
    assert store.clear().entries == 0


def test_a_store_that_cannot_be_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path / "file"))
    store.save(a_key(), ENTRY)
    assert store.load(a_key()) is None


def test_a_full_disk_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_whole", full)
    store.save(a_key(), ENTRY)
    assert store.load(a_key()) is None


def test_no_torch_is_needed() -> None:
    code = (
        "import sys; from vmm_cli.encoders import store; print(store.info()); store.clear(); "
        "assert not {'torch', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
