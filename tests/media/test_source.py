"""What may be opened, and what is refused."""

from __future__ import annotations

import os

import pytest

from vmm_cli.errors import InputError
from vmm_cli.media.source import declared_duration_s, open_media

CONCAT = "ffconcat version 1.0\nfile {target}\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("text", [CONCAT, PLAYLIST], ids=["concat", "m3u8"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".m3u8", ".txt"])
def test_scripts_that_name_other_files_are_refused(bikes, tmp_path, text, suffix):
    script = tmp_path / f"script{suffix}"
    script.write_text(text.format(target=bikes))
    with pytest.raises(InputError) as caught, open_media(script):
        pass
    assert caught.value.code in ("refused", "unreadable")


def test_names_that_read_like_protocols_are_files(bikes, tmp_path):
    for name in ("concat:a|b", "http:x.mp4", "-i", "pipe:0"):
        path = tmp_path / name
        path.write_bytes(bikes.read_bytes())
        assert declared_duration_s(path) == 10


def test_names_of_any_bytes_open(bikes, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\nline.mp4")
    path.write_bytes(bikes.read_bytes())
    assert declared_duration_s(path) == 10


def test_what_is_no_regular_file_is_refused_without_reading(tmp_path):
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path):
        with pytest.raises(InputError) as caught, open_media(path):
            pass
        assert caught.value.code == "refused"


def test_missing_and_empty_files_are_told_apart(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path, code in ((tmp_path / "no.mp4", "missing"), (empty, "unreadable")):
        with pytest.raises(InputError) as caught, open_media(path):
            pass
        assert caught.value.code == code


def test_the_file_is_closed_again(bikes):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with open_media(bikes):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
