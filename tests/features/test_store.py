from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from vmm_cli.errors import UsageError
from vmm_cli.features import store
from vmm_cli.features.values import Features, Sets
from vmm_cli.identity import READING_REVISION, FileIdentity
from vmm_cli.media import sampling
from vmm_cli.media.video import Video

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


SETS = store.Entry(
    Sets.of([0.0, 1.5, 2.0], [np.ones((2, 3)), np.zeros((0, 3)), np.ones((1, 3))], ("x", "y", "z")),
    2.25,
)


def a_key(n: int = 0) -> store.Key:
    return store.key(replace(IDENTITY, size=n), "digest", sampling.every(1))


def entry_file(key: store.Key) -> Path:
    return store.folder() / key.name[:2] / f"{key.name}.safetensors"


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
    assert len(keys) == len({key.name for key in keys}) == len(plans) + 4


def test_what_is_stored_by_an_earlier_vmm_keeps_its_name() -> None:
    plan = sampling.every(Fraction(1, 3), start=1, end=9)
    name = "d64b5dd2131f9f85d11cc50f4a3b8e1271b3ed1045ca07a52d866ff95491899f"
    assert store.key(IDENTITY, "digest", plan, encoder="e", settings={"a": 1}).name == name


# --- what an entry says -------------------------------------------------------------------------


def test_sets_are_kept_beside_features() -> None:
    store.save(a_key(1), SETS)
    loaded = store.load(a_key(1), Sets)
    assert loaded is not None and loaded.end_s == 2.25
    assert loaded.features.columns == ("x", "y", "z")
    for name in ("times", "offsets", "rows"):
        there, wanted = getattr(loaded.features, name), getattr(SETS.features, name)
        np.testing.assert_array_equal(there, wanted)
    store.save(a_key(2), store.Entry(Sets.of([], [], ("x",)), None))
    nothing = store.load(a_key(2), Sets)
    assert nothing is not None and len(nothing.features) == 0


def test_an_entry_of_another_kind_is_a_miss_and_stays() -> None:
    store.save(a_key(1), SETS)
    store.save(a_key(2), ENTRY)
    assert store.load(a_key(1)) is None
    assert store.load(a_key(2), Sets) is None
    assert store.load(a_key(1), Sets) is not None and store.load(a_key(2)) is not None


def test_an_entry_says_what_it_holds() -> None:
    plan = sampling.every(Fraction(1, 3), end=9)
    key = store.key(IDENTITY, "digest", plan, encoder="boxes", settings={"sides": [1, 2]})
    store.save(key, SETS)
    with safe_open(entry_file(key), framework="np") as file:
        about = json.loads(file.metadata()["vmm"])
    assert about == {
        "schema": "vmm.stored/1",
        "kind": "sets",
        "columns": ["x", "y", "z"],
        "encoder": {"name": "boxes", "digest": "digest", "settings": {"sides": [1, 2]}},
        "identity": IDENTITY.to_dict(),
        "sampling": {
            "kind": "every",
            "start": "0",
            "end": "9",
            "step_s": "1/3",
            "n": None,
            "offsets_s": [],
        },
        "reading": READING_REVISION,
    }


def test_what_the_store_holds_is_told_by_encoder() -> None:
    for n in range(3):
        key = store.key(replace(IDENTITY, size=n), "digest", sampling.every(1), encoder="boxes")
        store.save(key, SETS)
    store.save(store.key(IDENTITY, "digest", sampling.every(1), encoder="sound"), ENTRY)
    of_an_earlier_vmm(a_key(7))
    (store.folder() / "aa").mkdir(exist_ok=True)
    (store.folder() / "aa" / "x.safetensors").write_bytes(b"no tensors here")
    held = {(one.encoder, one.kind): one.entries for one in store.holds()}
    assert held == {("boxes", "sets"): 3, ("sound", "features"): 1, ("", ""): 2}
    assert sum(one.size_bytes for one in store.holds()) == store.info().size_bytes


def of_an_earlier_vmm(key: store.Key) -> None:
    """Write an entry as it was before entries said what they hold."""
    store.save(key, ENTRY)
    with safe_open(entry_file(key), framework="np") as file:
        metadata = {k: v for k, v in file.metadata().items() if k != "vmm"}
        tensors = {name: file.get_tensor(name) for name in ("times", "values")}
    save_file(tensors, entry_file(key), metadata)


def test_an_entry_of_an_earlier_vmm_is_used() -> None:
    of_an_earlier_vmm(a_key())
    loaded = store.load(a_key())
    assert loaded is not None
    np.testing.assert_array_equal(loaded.features.values, ENTRY.features.values)


@pytest.mark.parametrize("about", ["{", "[]", '{"kind": "sets"}', '{"kind": "sets", "columns": 3}'])
def test_an_entry_that_says_nonsense_is_a_miss_and_goes(about: str) -> None:
    store.save(a_key(), SETS)
    with safe_open(entry_file(a_key()), framework="np") as file:
        metadata = {**file.metadata(), "vmm": about}
        tensors = {name: file.get_tensor(name) for name in ("times", "offsets", "rows")}
    save_file(tensors, entry_file(a_key()), metadata)
    assert [one.kind for one in store.holds()] in ([""], ["sets"])
    assert store.load(a_key(), Sets) is None
    assert store.info().entries == 0


# --- from the store, or computed ----------------------------------------------------------------


def test_what_is_there_is_not_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a video")
    video = Video(path)
    keys = {n: store.key(video.identity, f"digest {n}", sampling.every(1)) for n in (1, 2)}
    asked: list[list[int]] = []

    def compute(lacking: Sequence[int]) -> dict[int, store.Entry[Features]]:
        asked.append([*lacking])
        return {n: replace(ENTRY, end_s=float(n)) for n in lacking if n != 9}

    assert store.cached(video, {1: keys[1]}, compute)[1].end_s == 1
    # What the store may not hold is computed each time; what is not there is left out.
    found = store.cached(video, {**keys, 3: None, 9: None}, compute)
    assert {n: entry.end_s for n, entry in found.items()} == {1: 1, 2: 2, 3: 3}
    assert set(store.cached(video, keys, compute)) == {1, 2}
    assert asked == [[1], [2, 3, 9]]
    assert store.info().entries == 2


def test_a_file_that_changes_meanwhile_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"a video")
    video = Video(path)
    key = store.key(video.identity, "digest", sampling.every(1))

    def compute(lacking: Sequence[int]) -> dict[int, store.Entry[Features]]:
        path.write_bytes(b"another video")
        return dict.fromkeys(lacking, ENTRY)

    assert set(store.cached(video, {1: key}, compute)) == {1}
    assert store.info().entries == 0


# --- the files ----------------------------------------------------------------------------------


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
        "import sys; from vmm_cli.features import store; print(store.info()); store.clear(); "
        "assert not {'torch', 'av'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
