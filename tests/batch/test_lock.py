"""One run at a time in an output, under whichever name."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vmm_cli import durable
from vmm_cli.batch.lock import lock, lock_path
from vmm_cli.errors import LockedError


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_all_names_of_a_file_are_one_output(
    tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "labels.jsonl").write_text("")
    make(tmp_path / "labels.jsonl", tmp_path / "other.jsonl")
    with (
        lock(tmp_path / "labels.jsonl"),
        pytest.raises(LockedError),
        lock(tmp_path / "other.jsonl"),
    ):
        pass
    with lock(tmp_path / "other.jsonl"):
        pass


def test_a_folder_made_anew_keeps_the_lock_of_the_run_that_is_in_it(tmp_path: Path) -> None:
    output = tmp_path / "frames"
    output.mkdir()
    with lock(output) as first:
        shutil.rmtree(output)
        output.mkdir()
        with lock(output):
            assert not first.is_ours()
            first.release()
            with pytest.raises(LockedError), lock(output):
                pass


def test_a_lock_is_gone_once_it_is_let_go(tmp_path: Path) -> None:
    with lock(tmp_path):
        assert lock_path(tmp_path).exists()
    assert not lock_path(tmp_path).exists()


@pytest.mark.parametrize(("code", "refused"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_may_refuse_to_sync_but_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, refused: bool
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    for sync in (lambda: durable.sync_file(1), lambda: durable.sync_folder(tmp_path)):
        if refused:
            sync()
        else:
            with pytest.raises(OSError, match=os.strerror(code)):
                sync()
