from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from vmm_cli.errors import InputError
from vmm_cli.identity import SAMPLE_BYTES, FileIdentity, file_identity


def test_a_copy_with_the_same_times_has_the_same_identity(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_bytes(os.urandom(1) * 300_000 if path is one else one.read_bytes())
        os.utime(path, ns=(1, 123_456_789))
    assert file_identity(one) == file_identity(two)
    assert file_identity(one).size == 300_000
    assert file_identity(one).mtime_ns == 123_456_789


@pytest.mark.parametrize("where", [0, 500_000, 999_999])
def test_a_change_in_a_sample_changes_the_content_though_size_and_time_stay(
    tmp_path: Path, where: int
) -> None:
    path = tmp_path / "clip"
    content = bytearray(1_000_000)
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    before = file_identity(path)
    content[where] = 1
    path.write_bytes(content)
    os.utime(path, ns=(0, 0))
    after = file_identity(path)
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after.content != before.content


@pytest.mark.parametrize("size", [0, 1, SAMPLE_BYTES - 1, SAMPLE_BYTES])
def test_a_short_file_is_hashed_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "clip"
    content = os.urandom(size)
    path.write_bytes(content)
    expected = hashlib.sha256(size.to_bytes(8, "little") + content).hexdigest()
    assert file_identity(path).content == expected


def test_it_survives_a_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"content")
    identity = file_identity(path)
    assert FileIdentity.from_dict(identity.to_dict()) == identity
    with pytest.raises(ValueError, match="not a file identity"):
        FileIdentity.from_dict({"size": "7"})


def test_what_is_no_readable_file_is_told_apart_and_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name, code in [
        ("absent", "missing"),
        ("fifo", "refused"),
        (".", "refused"),
        ("loop", "unreadable"),
    ]:
        with pytest.raises(InputError) as caught:
            file_identity(tmp_path / name)
        assert caught.value.code == code
