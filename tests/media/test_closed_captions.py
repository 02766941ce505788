"""Closed captions among the pictures: found in the packets, read once, told by the probe."""

from __future__ import annotations

from math import inf
from pathlib import Path

import av
import pytest

from tests.media.closed import (
    ERASE_DISPLAYED,
    NOTHING,
    caption_data,
    captioned_clip,
    popped_on,
    rolled_up,
    spread,
)
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.text import text_evidence
from vmm_cli.media.captions import captions
from vmm_cli.media.probe import CaptionStreamInfo, probe
from vmm_cli.media.video import Video

Spoken = list[tuple[float, float | None, str]]


def spoken(path: Path) -> Spoken:
    return [
        (round(c.start_s or 0.0, 3), None if c.end_s is None else round(c.end_s, 3), c.text)
        for c in captions(path).captions
    ]


@pytest.mark.parametrize("name", ["clip.ts", "clip.mp4", "clip.mkv"])
def test_captions_that_pop_on(tmp_path: Path, name: str) -> None:
    first, second = popped_on("I love this"), popped_on("It is great")
    said = spread(first, 0) | spread(second, 45) | spread([ERASE_DISPLAYED] * 2, 75)
    clip = captioned_clip(tmp_path / name, said, pictures=90)
    begin, end = (len(first) - 2) / 30, (45 + len(second) - 2) / 30
    assert spoken(clip) == [
        (pytest.approx(begin, abs=0.002), pytest.approx(end, abs=0.002), "I love this"),
        (pytest.approx(end, abs=0.002), pytest.approx(2.5, abs=0.002), "It is great"),
    ]
    assert probe(clip).captions == (CaptionStreamInfo(0, "eia_608", "text", None),)


def test_captions_that_roll_up_are_read_once(tmp_path: Path) -> None:
    said: dict[int, bytes] = {}
    for number, line in enumerate(("I love it", "It is great", "It is great", "The food was bad")):
        said |= spread(rolled_up(line), 30 * number)
    clip = captioned_clip(tmp_path / "clip.ts", said, pictures=130)
    assert [text for _, _, text in spoken(clip)] == [
        *("I love it", "It is great", "It is great", "The food was bad")
    ]
    starts = [start for start, _, _ in spoken(clip)]
    assert starts == [pytest.approx(n + 2 / 30, abs=0.04) for n in range(4)]
    assert spoken(clip)[-1][1] == pytest.approx(130 / 30, abs=0.04), "until the video ends"


def test_captions_that_begin_late_are_found(tmp_path: Path) -> None:
    padding = dict.fromkeys(range(100), caption_data([NOTHING]))
    said = spread(popped_on("Late"), 100)
    clip = captioned_clip(tmp_path / "clip.ts", padding | said, pictures=130)
    assert [text for _, _, text in spoken(clip)] == ["Late"]
    clip = captioned_clip(tmp_path / "sparse.ts", said, pictures=130)
    assert [text for _, _, text in spoken(clip)] == ["Late"]


def test_captions_that_begin_behind_the_first_thousand_pictures(tmp_path: Path) -> None:
    clip = captioned_clip(tmp_path / "clip.ts", spread(popped_on("Late"), 1010), pictures=1040)
    assert captions(clip).captions == ()
    assert captions(clip, until_s=30).captions == ()
    found = captions(clip, until_s=inf)
    assert [caption.text for caption in found.captions] == ["Late"]
    model = bundles.load("sentiment/text")
    read = text_evidence(Video(clip), model, asr_model=None)
    assert [caption.text for caption in read.transcript] == ["Late"]


@pytest.mark.parametrize("container", ["avi", "matroska"])
def test_captions_of_pictures_without_true_times(tmp_path: Path, container: str) -> None:
    """The pictures refer to later ones, and the container has decoding times alone."""
    said = spread(popped_on("I love this day"), 0) | spread(popped_on("It is great"), 45)
    clip = captioned_clip(tmp_path / "clip.ts", said, pictures=90)
    timed = tmp_path / f"timed.{container}"
    with av.open(str(clip)) as source, av.open(str(timed), "w", format=container) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        first = packets[0].dts or 0
        for packet in packets:
            assert packet.dts is not None
            packet.dts -= first
            packet.pts, packet.stream = packet.dts, stream
            target.mux(packet)
    assert [text for _, _, text in spoken(timed)] == ["I love this day", "It is great"]
    for (start, *_), (expected, *_) in zip(spoken(timed), spoken(clip), strict=True):
        assert start == pytest.approx(expected, abs=0.2)


def test_padding_says_nothing(tmp_path: Path) -> None:
    padding = dict.fromkeys(range(20), caption_data([NOTHING]))
    clip = captioned_clip(tmp_path / "clip.ts", padding, pictures=20)
    found = captions(clip)
    assert (found.captions, found.warnings, found.unread) == ((), (), False)


def test_captions_of_the_newer_kind_are_told(tmp_path: Path) -> None:
    # a packet of DTVCC with a block of four bytes for the first service
    newer = b"\xff\x03\x24" + b"\xfeHi" + b"\xfe!\0"
    said = {3: caption_data([NOTHING], newer=newer)}
    clip = captioned_clip(tmp_path / "clip.ts", said, pictures=10)
    found = captions(clip)
    assert found.captions == ()
    assert found.warnings == (
        "the captions among its pictures (CEA-708) are of a kind that cannot be read",
    )
    assert found.unread


def test_other_captions_come_first(tmp_path: Path) -> None:
    clip = captioned_clip(tmp_path / "clip.ts", spread(popped_on("Inside"), 0), pictures=40)
    clip.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nBeside\n")
    assert [text for _, _, text in spoken(clip)] == ["Beside"]


def test_a_clip_without_any(bikes: Path) -> None:
    assert probe(bikes).captions == ()
    assert captions(bikes).captions == ()


def test_a_real_file(vmm_data: Path) -> None:
    clip = vmm_data / "hard_media" / "eia608.ts"
    assert [text for _, _, text in spoken(clip)] == ["First subtitle", "Second subtitle"]
    assert [stream.codec for stream in probe(clip).captions] == ["eia_608"]
