"""Files that take long to write are whole, or not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vmm_cli.output.unfinished import WORK_NAME, made_by_name, remove_unfinished

KILLED = """
import os, sys
from pathlib import Path
from vmm_cli.output.unfinished import made_by_name
folder = Path(sys.argv[1])
with made_by_name(folder, folder / "clip.mp4") as path:
    path.write_bytes(b"half")
    os.kill(os.getpid(), 9)
"""


def test_a_file_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"before")
    with made_by_name(tmp_path, target) as path:
        path.write_bytes(b"whole")
        assert (target.read_bytes(), path.suffix) == (b"before", ".mp4")
    assert target.read_bytes() == b"whole"
    with pytest.raises(ValueError, match="wrong"), made_by_name(tmp_path, target) as path:
        path.write_bytes(b"half")
        raise ValueError("wrong")
    assert target.read_bytes() == b"whole"
    remove_unfinished(tmp_path)
    assert [*tmp_path.iterdir()] == [target]


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -9
    (half,) = (tmp_path / WORK_NAME).iterdir()
    assert half.read_bytes() == b"half"
    with made_by_name(tmp_path, tmp_path / "other.mp4") as path:
        remove_unfinished(tmp_path)
        assert [*(tmp_path / WORK_NAME).iterdir()] == [path]  # somebody is writing it
    assert (tmp_path / "other.mp4").exists()
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path)
    assert not (tmp_path / WORK_NAME).exists()
