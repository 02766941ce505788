"""Looking at what users name, on disks that don't answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmm_cli.batch import listing
from vmm_cli.batch.listing import Looked, look_at


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set at the end: until then whoever looks at a file named "dead" waits."""
    monkeypatch.setattr(listing, "ANSWER_LIMIT_S", 0.2)
    event = threading.Event()
    yield event
    event.set()


def found(folders: list[Path], event: threading.Event) -> list[Looked]:
    def is_clip(path: Path) -> bool:
        if path.name == "dead":
            event.wait(30)
        return path.suffix == ".mp4"

    return list(look_at([str(folder) for folder in folders], [is_clip], None))


def test_what_does_not_answer_is_told_and_hides_no_other_argument(
    tmp_path: Path, dead: threading.Event
) -> None:
    for name in ("a/1.mp4", "a/dead", "a/z.mp4", "b/2.mp4", "c/dead", "d/3.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    looked = found([tmp_path / name for name in "abcd"], dead)
    assert [item.found for item in looked] == [["1.mp4"], ["2.mp4"], [], ["3.mp4"]]
    assert [item.silent for item in looked] == [
        [str(tmp_path / "a" / "dead")],
        [],
        [str(tmp_path / "c" / "dead")],
        [],
    ]


def test_what_answers_late_changes_nothing_that_was_told(
    tmp_path: Path, dead: threading.Event
) -> None:
    for name in ("1.mp4", "dead", "z.mp4"):
        (tmp_path / name).touch()
    (looked,) = found([tmp_path], dead)
    dead.set()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(1)
    assert looked.found == ["1.mp4"]


def test_slow_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts how long nothing came, not how long all of it takes."""
    monkeypatch.setattr(listing, "ANSWER_LIMIT_S", 0.3)
    for number in range(5):
        (tmp_path / f"{number}.mp4").touch()
    wait = threading.Event()

    def is_clip(path: Path) -> bool:
        wait.wait(0.12)
        return True

    (looked,) = look_at([str(tmp_path)], [is_clip], None)
    assert (len(looked.found), looked.silent) == (5, [])
