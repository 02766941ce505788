"""Real files that break tools, against what ffprobe says of them (tests/data/README.md)."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmm_cli.errors import InputError
from vmm_cli.media import sampling
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.captions import captions
from vmm_cli.media.frames import FrameRequest, Size, iter_frames
from vmm_cli.media.probe import probe

TRUTH_FILE = Path(__file__).parents[1] / "data" / "odd_media_ffprobe.json"
TRUTH: dict[str, dict[str, Any]] = json.loads(TRUTH_FILE.read_text(encoding="utf-8"))["files"]

TOLERANCE_S = 0.002
LIMIT_S = 120  # only what hangs takes this long, on the busiest machine; most take some 0.1 s
SLOW_PIXELS = 1.9e8  # decoded pixels from which a file is left to `make test-all`


@dataclass(frozen=True)
class Explained:
    """Where vmm is meant to differ from ffprobe 5.1, and what it gives instead."""

    reason: str
    count: int | None = None
    display: tuple[int, int] | None = None
    stated_times: bool = False  # ffprobe's `pts_time` in the place of its best effort


_BACKWARDS = (
    "The file's presentation times run backwards once. ffprobe's best effort then puts a decoding "
    "time in the place of the presentation time, and so gives two pictures the same time; vmm "
    "gives the presentation time, which ffprobe prints too, as pts_time, and puts the pictures in "
    "order."
)

EXPLAINED = {
    "auto-editor/h264-mjpeg.mkv": Explained(_BACKWARDS, stated_times=True),
    "auto-editor/h264-png.mkv": Explained(_BACKWARDS, stated_times=True),
    "auto-editor/test.mkv": Explained(_BACKWARDS, stated_times=True),
    "auto-editor/testsrc.mkv": Explained(_BACKWARDS, stated_times=True),
    "mp4parse-rust/mp4parse_capi__tests__no_timescale.mp4": Explained(
        "Damaged H.264, some pictures of which leave the decoder out of order. " + _BACKWARDS,
        stated_times=True,
    ),
    "file-type/fixture.ogm": Explained(
        "ffprobe 5.1 gives the whole file up over a broken Vorbis header; libav since 8 opens it, "
        "and its pictures are whole.",
        count=48,
        display=(1024, 576),
    ),
}


def is_readable(name: str) -> bool:
    video = TRUTH[name].get("video")
    return name in EXPLAINED or bool(video and video["count"])


def readable() -> list[Any]:
    names = []
    for name in filter(is_readable, TRUTH):
        video = TRUTH[name].get("video") or {"count": 0, "display": (0, 0)}
        pixels = video["count"] * video["display"][0] * video["display"][1]
        marks = [pytest.mark.slow] if pixels > SLOW_PIXELS else []
        names.append(pytest.param(name, marks=marks))
    return names


UNREADABLE = [name for name in TRUTH if not is_readable(name)]


def located(folder: Path, name: str) -> Path:
    path = folder / "odd_media" / name
    if not path.is_file():
        pytest.skip(f"$VMM_DATA has no odd_media/{name}")
    return path


@pytest.mark.parametrize("name", readable())
def test_every_picture_comes_at_its_time_and_size(vmm_data: Path, name: str) -> None:
    path = located(vmm_data, name)
    requests = [
        FrameRequest("small", sampling.all(), Size(short=16)),
        FrameRequest("whole", sampling.at([0])),
    ]
    started = time.monotonic()
    times: list[float] = []
    shown: tuple[int, int] | None = None
    for frame in iter_frames(path, requests):
        if frame.request == "small":
            times.append(frame.time_s)
        else:
            shown = (frame.image.shape[1], frame.image.shape[0])
    assert time.monotonic() - started < LIMIT_S

    video = TRUTH[name].get("video") or {"count": 0, "display": None, "times": []}
    explained = EXPLAINED.get(name, Explained(""))
    assert len(times) == (video["count"] if explained.count is None else explained.count)
    assert shown == (explained.display or tuple(video["display"]))
    assert times == sorted(times)
    expected = list(video["times"])
    if explained.stated_times:
        for index, stated in video["pts"].items():
            expected[int(index)] = stated
        expected.sort()
    differing = {
        index: got
        for index, (got, said) in enumerate(zip(times, expected, strict=False))
        if said is not None and abs(got - said) > TOLERANCE_S
    }
    assert differing == {}


@pytest.mark.parametrize("name", sorted(EXPLAINED))
def test_what_is_explained_still_differs(name: str) -> None:
    explained = EXPLAINED[name]
    video = TRUTH[name].get("video") or {"count": 0, "display": None, "times": []}
    assert explained.reason
    assert explained.count != video["count"]
    assert explained.display is None or list(explained.display) != video["display"]
    if explained.stated_times:
        assert video["pts"]
        for index, stated in video["pts"].items():
            assert abs(video["times"][int(index)] - stated) > TOLERANCE_S
    assert explained.stated_times or explained.count is not None or explained.display


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_said_so_in_time(vmm_data: Path, name: str) -> None:
    path = located(vmm_data, name)
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        list(iter_frames(path, [FrameRequest("all", sampling.all(), Size(short=16))]))
    assert caught.value.code in ("unreadable", "refused", "no_video")
    assert caught.value.message and "\n" not in caught.value.message
    try:
        info = probe(path)
    except InputError as error:
        assert error.code in ("unreadable", "refused")
    else:
        assert not any(stream.decodable for stream in info.video)
    assert time.monotonic() - started < LIMIT_S


@pytest.mark.parametrize("name", list(filter(is_readable, TRUTH)))
def test_probe_agrees_with_ffprobe(vmm_data: Path, name: str) -> None:
    info = probe(located(vmm_data, name))
    video = TRUTH[name].get("video") or {}
    stream = info.video[0]
    shown = EXPLAINED.get(name, Explained("")).display or tuple(video["display"])
    assert stream.decodable
    assert (stream.display_width, stream.display_height) == shown
    assert video == {} or stream.codec == video["codec"]
    json.dumps(dataclasses.asdict(info))  # plain values throughout
    times = [t for t in video.get("times", ()) if t is not None]
    if times:
        assert info.duration_s is not None
        assert info.duration_s >= times[-1] - TOLERANCE_S


def test_captions_survive_every_file(vmm_data: Path) -> None:
    for name in TRUTH:
        try:
            result = captions(located(vmm_data, name))
        except InputError:
            continue
        assert all(caption.text.strip() for caption in result.captions), name


def test_sound_of_every_file_is_whole_and_in_range(vmm_data: Path) -> None:
    for name in TRUTH:
        position = 0
        try:
            for block in iter_audio(located(vmm_data, name), 16000):
                assert block.time_s == pytest.approx(position / 16000), name
                assert np.abs(block.samples).max() <= 1, name
                position += len(block.samples)
        except InputError:
            continue
        assert position < 70 * 16000, name  # the longest is a minute


@pytest.mark.parametrize(
    "name", ["auto-editor/mov_text.mp4", "auto-editor/subtitle.mp4", "auto-editor/webvtt.mkv"]
)
def test_embedded_captions(vmm_data: Path, name: str) -> None:
    found = captions(located(vmm_data, name)).captions
    assert [c.text for c in found] == ["oop", "boop"]
    assert all(c.source == "stream" and c.start_s and c.end_s for c in found)
    assert [c.start_s for c in found] == pytest.approx([0.535, 1.535], abs=0.02)
