"""Which files of captions belong to which video, and what looking for them costs."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest

from vmm_cli.media import sidecars
from vmm_cli.media.languages import language_tag
from vmm_cli.media.sidecars import sidecar_files, unclaimed_files


def make(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).touch()


def own(path: Path) -> dict[str, str | None]:
    return {file.name: language for file, language in sidecar_files(path)}


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("clip.srt", None),
        ("clip.mkv.srt", None),
        ("clip.MKV.SRT", None),
        ("clip.avi.srt", None),
        ("clip.mkv.en.vtt", "en"),
        ("clip.en.srt", "en"),
        ("clip.eng.srt", "eng"),
        ("clip.en-US.srt", "en-US"),
        ("clip.en_US.srt", "en-US"),
        ("clip.zh-Hans-CN.ass", "zh-Hans-CN"),
        ("clip.en-orig.vtt", "en-orig"),
        ("clip.en-eEY6OEpapPo.vtt", "en-eEY6OEpapPo"),
        ("clip.English.srt", "en"),
        ("clip.english.forced.srt", "en"),
        ("clip.English (SDH).srt", "en"),
        ("clip.English [CC].srt", "en"),
        ("clip.Latin American Spanish.srt", "es"),
        ("clip.Chinese (Simplified).srt", "zh"),
        ("clip.forced.en.srt", "en"),
        ("clip.pt-BR.sdh.ssa", "pt-BR"),
        ("clip.2.srt", None),
        ("clip.2.en.srt", "en"),
        ("clip.en.2.srt", "en"),
        ("clip.hi.srt", None),
        ("clip.sdh.srt", None),
    ],
)
def test_names_that_belong(tmp_path: Path, name: str, language: str | None) -> None:
    make(tmp_path, ["clip.mkv", name])
    assert own(tmp_path / "clip.mkv") == {name: language}
    assert unclaimed_files(tmp_path / "clip.mkv") == []


@pytest.mark.parametrize(
    "name", ["clip.part2.srt", "clip.en.x.srt", "clip.hd.srt", "clip.new.srt", "clip.en.de.srt"]
)
def test_names_that_may_be_those_of_something_else(tmp_path: Path, name: str) -> None:
    make(tmp_path, ["clip.mkv", name])
    assert own(tmp_path / "clip.mkv") == {}
    assert unclaimed_files(tmp_path / "clip.mkv") == [tmp_path / name]


@pytest.mark.parametrize(
    "name", ["clip2.srt", "clip-2.srt", "other.srt", "clip.txt", "clip.srt.bak", "a.clip.srt"]
)
def test_names_that_do_not_belong(tmp_path: Path, name: str) -> None:
    make(tmp_path, ["clip.mkv", name])
    assert own(tmp_path / "clip.mkv") == {}
    assert unclaimed_files(tmp_path / "clip.mkv") == []


def test_what_belongs_to_another_video(tmp_path: Path) -> None:
    names = ["clip.srt", "clip.2.srt", "clip.en.srt", "clip.mkv.srt", "clip.avi.srt"]
    make(tmp_path, ["clip.mkv", "clip.mp4", "clip.2.mkv", "clip.part2.mkv", "clip.part2.srt"])
    make(tmp_path, names)
    shared = {"clip.srt": None, "clip.en.srt": "en", "clip.avi.srt": None}
    assert own(tmp_path / "clip.mkv") == {**shared, "clip.mkv.srt": None}
    assert own(tmp_path / "clip.mp4") == shared
    assert own(tmp_path / "clip.2.mkv") == {"clip.2.srt": None}
    assert own(tmp_path / "clip.part2.mkv") == {"clip.part2.srt": None}
    assert unclaimed_files(tmp_path / "clip.mkv") == []


def test_what_is_beside_a_video_and_is_no_medium_owns_nothing(tmp_path: Path) -> None:
    make(tmp_path, ["clip.mp4", "clip.en.vtt", "clip.en.json", "clip.info.json", "clip.jpg"])
    assert own(tmp_path / "clip.mp4") == {"clip.en.vtt": "en"}


def test_a_video_with_dots_or_without_an_extension(tmp_path: Path) -> None:
    make(tmp_path, ["My.Film.2020.mkv", "My.Film.2020.en.srt", "My.srt", "bare", "bare.srt"])
    assert own(tmp_path / "My.Film.2020.mkv") == {"My.Film.2020.en.srt": "en"}
    assert own(tmp_path / "bare") == {"bare.srt": None}


def test_accents_are_the_same_in_both_forms(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "caf\u00e9")
    apart = unicodedata.normalize("NFD", composed)
    make(tmp_path, [f"{composed}.mkv", f"{apart}.en.srt"])
    assert own(tmp_path / f"{composed}.mkv") == {f"{apart}.en.srt": "en"}


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, [f"{i}.mkv" for i in range(50)])
    make(tmp_path, [f"{i}.en.srt" for i in range(0, 50, 2)])
    os.utime(tmp_path, ns=(10**18 + 1, 10**18 + 1))  # long ago
    listed: list[Path] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or listdir(folder))
    for i in range(50):
        assert own(tmp_path / f"{i}.mkv") == ({} if i % 2 else {f"{i}.en.srt": "en"})
    assert listed == [tmp_path]


def test_what_appears_later_is_found(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    make(tmp_path, ["clip.mkv"])
    for name in ("clip.srt", "clip.en.srt", "clip.de.srt", "clip.fr.srt"):
        before = own(clip)
        make(tmp_path, [name])  # in the same tick of the file system's clock, most likely
        assert own(clip).keys() == before.keys() | {name}
    (tmp_path / "clip.srt").unlink()
    assert "clip.srt" not in own(clip)


def test_a_change_that_the_folder_does_not_tell_shows_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mkv"
    make(tmp_path, ["clip.mkv"])
    long_ago = (10**18 + 1, 10**18 + 1)
    os.utime(tmp_path, ns=long_ago)
    assert own(clip) == {}
    make(tmp_path, ["clip.srt"])
    os.utime(tmp_path, ns=long_ago)
    assert own(clip) == {}
    monkeypatch.setattr(sidecars, "MAX_AGE_S", 0.0)
    assert own(clip) == {"clip.srt": None}


def test_few_listings_are_kept(tmp_path: Path) -> None:
    for i in range(3 * sidecars.MAX_LISTINGS):
        folder = tmp_path / str(i)
        folder.mkdir()
        make(folder, ["clip.srt"])
        assert own(folder / "clip.mkv") == {"clip.srt": None}
    assert len(sidecars._listings) <= sidecars.MAX_LISTINGS


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert sidecar_files(tmp_path / "none" / "clip.mkv") == []


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("en", "en"),
        ("EN", "EN"),
        ("pt_BR", "pt-BR"),
        ("Deutsch", None),
        ("German", "de"),
        ("mkv", None),
        ("avi", None),
        ("mov", None),
        ("hd", None),
        ("part2", None),
        ("", None),
        ("uk", "uk"),
        ("simplified", None),
    ],
)
def test_language_tags(text: str, tag: str | None) -> None:
    assert language_tag(text) == tag
