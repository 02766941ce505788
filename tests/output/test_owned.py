"""What counts as vmm's own file."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from vmm_cli.errors import OutputError, UsageError
from vmm_cli.output.owned import Written, digest_of, foreign, is_ours, noted_file, refuse_foreign
from vmm_cli.output.png import save_png

RECORD = '{"schema": "vmm.info/1", "input": "a.mp4", "status": "ok"}'


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ("", True),
        (f"{RECORD}\n{RECORD}\n", False),  # may be joined or edited: only notes tell
        (f"[\n{RECORD},\n{RECORD}\n]\n", False),
        ("[]\n", False),
        ('{\n  "schema": "vmm.evaluate/1",\n  "n": 3\n}\n', True),
        ("input,status,rank\na.mp4,ok,1\n", False),
        ("my notes\n", False),
        ("\n", False),
        ("{}\n", False),
        ("[1, 2]\n", False),
        (f"{RECORD}\nmy notes\n", False),
        (f"[\n{RECORD},\n1\n]\n", False),
        ("{\n}\n", False),
        ("time,input,status\n", False),
    ],
)
def test_text_is_known_by_what_it_holds(tmp_path: Path, content: str, ours: bool) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert is_ours(path) == ours


def test_pictures_are_known_by_a_mark(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 64), "red")
    save_png(picture, tmp_path / "ours.png")
    picture.save(tmp_path / "theirs.png")
    assert is_ours(tmp_path / "ours.png")
    assert not is_ours(tmp_path / "theirs.png")
    with Image.open(tmp_path / "ours.png") as read:
        assert read.getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written"):
        save_png(picture, tmp_path / "no" / "a.png")


def test_notes_say_what_was_written(tmp_path: Path) -> None:
    notes, path = tmp_path / "notes", tmp_path / "a.srt"
    notes.write_bytes(b'"older.srt"\n{"input": "a.mp4", "record": {}}\n{"file": "torn')
    written = Written(notes)
    with noted_file(path, partial(written.note, "a.srt")) as file:
        file.write("one")
    again = Written(notes)
    assert foreign(path, again) is None
    digest = hashlib.sha256(b"one").hexdigest()
    assert json.loads(notes.read_bytes().splitlines()[-1]) == {"file": "a.srt", "sha256": digest}
    size = notes.stat().st_size
    with noted_file(path, partial(again.note, "a.srt")) as file:
        file.write("one")
    assert notes.stat().st_size == size, "noted once"
    path.write_text("two")
    assert "was changed since" in (foreign(path, again) or "")
    older = tmp_path / "older.srt"
    older.write_text("whatever")
    assert foreign(older, again) is None
    with pytest.raises(UsageError, match=r"other.srt: is there.* or choose another --plot"):
        other = tmp_path / "other.srt"
        other.write_text("whatever")
        refuse_foreign(other, again, option="--plot")


def test_what_cannot_be_noted_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("before")
    with (
        pytest.raises(OutputError, match="notes"),
        noted_file(path, partial(Written(tmp_path / "no" / "notes").note, "a.srt")) as file,
    ):
        file.write("after")
    assert path.read_text() == "before"


def test_a_file_of_another_input_is_kept(tmp_path: Path) -> None:
    notes, path = tmp_path / "notes", tmp_path / "clip.srt"
    first, second = tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4"
    for source in (first, second):
        source.parent.mkdir()
        source.touch()
    with noted_file(path, partial(Written(notes).note, path.name, source=first)) as file:
        file.write("one")
    assert foreign(path, Written(notes), source=first) is None
    assert foreign(path, Written(notes), source=tmp_path / "b" / ".." / "a" / "clip.mp4") is None
    said = f"{path}: belongs to {first}, not to {second}"
    assert foreign(path, Written(notes), source=second) == said
    Written(notes).note(path.name, digest_of(path), second)  # asked for, with --overwrite
    assert foreign(path, Written(notes), source=second) is None
    assert foreign(path, Written(notes), source=first) is not None
    second.unlink()  # the library was moved
    assert foreign(path, Written(notes), source=first) is None
    path.write_text("edited")
    assert "was changed" in (foreign(path, Written(notes), source=first) or "")
