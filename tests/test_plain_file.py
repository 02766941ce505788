from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vmm_cli.plain_file import UnreadableError, open_regular, read_regular


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_regular(file, 5) == b"12345"
    with pytest.raises(UnreadableError, match="is larger than 4 bytes"):
        read_regular(file, 4)


def test_a_size_that_is_not_true_does_not_matter() -> None:
    endless = Path("/proc/self/maps")  # its size is said to be 0
    if not endless.is_file():
        pytest.skip("there is no /proc here")
    with pytest.raises(UnreadableError, match="is larger than 100 bytes"):
        read_regular(endless, 100)


def test_holes_are_not_read(tmp_path: Path) -> None:
    holes = tmp_path / "holes"
    with holes.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableError, match="is larger than 1 MiB"):
        read_regular(holes, 2**20)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    fifo, device, loop = tmp_path / "fifo", tmp_path / "device", tmp_path / "loop"
    os.mkfifo(fifo)
    device.symlink_to("/dev/zero")
    loop.symlink_to(loop)
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        for path, said in (
            (fifo, "is not a regular file"),
            (device, "is not a regular file"),
            (tmp_path / "socket", "is not a regular file"),
            (tmp_path, "cannot be read: Is a directory"),
            (loop, "cannot be read: Too many levels of symbolic links"),
            (tmp_path / "none", "cannot be read: No such file"),
        ):
            with pytest.raises(UnreadableError, match=said):
                read_regular(path, 100)


def test_a_size_comes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    with open_regular(file) as (opened, size):
        assert (opened.read(2), size) == (b"12", 5)
