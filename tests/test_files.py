from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from vmm_cli.errors import OutputError
from vmm_cli.files import atomic_file, make_folder, require_folder


def test_the_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with atomic_file(path) as stream:
        stream.write("new é\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "new é\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_is_made_unless_a_file_is_in_its_way(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "b"):
        with pytest.raises(OutputError, match=r"is a file, not a folder|cannot be made"):
            make_folder(folder)


def test_links_are_followed_and_the_umask_kept(tmp_path: Path) -> None:
    target = tmp_path / "real.csv"
    target.write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    before = os.umask(0o027)
    try:
        with atomic_file(link) as stream:
            stream.write("new")
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "out.csv"
    with pytest.raises(OutputError, match="cannot be written: No such file"), atomic_file(path):
        pass


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    dangling, loop = tmp_path / "dangling.csv", tmp_path / "loop.csv"
    dangling.symlink_to("nowhere/x.csv")
    loop.symlink_to(loop.name)
    target = tmp_path / "nowhere" / "x.csv"
    said = f"{dangling}: is a link to {target}: the folder {target.parent} does not exist; make it"
    with pytest.raises(OutputError, match=re.escape(said)):
        require_folder(dangling)
    with pytest.raises(OutputError, match=r"loop\.csv: is a link that leads back to itself"):
        require_folder(loop)
    for link in (dangling, loop):
        with pytest.raises(OutputError, match=r"is a link to .*, which does not exist; remove"):
            make_folder(link)
    target.parent.mkdir()
    require_folder(dangling)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    with pytest.raises(OutputError, match="cannot be written: the disk is full"), atomic_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
