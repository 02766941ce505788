"""WebVTT, rule by rule, as its specification has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.media.captions import captions, read_sidecar
from vmm_cli.media.webvtt import parse_webvtt, webvtt_plain

Said = list[tuple[float, float | None, str]]


def said(text: str) -> Said:
    cues = [cue for cue in parse_webvtt(text) if cue is not None]
    return [(cue.start_s, cue.end_s, cue.text) for cue in cues]


def damaged(text: str) -> int:
    return sum(cue is None for cue in parse_webvtt(text))


ONE = "00:01.000 --> 00:02.000"
TWO = "00:03.000 --> 00:04.000"


def test_only_an_empty_line_ends_a_cue() -> None:
    text = f"WEBVTT\n\n{ONE}\nfirst\n \nsecond\n\t\n\n{TWO}\nthird\n"
    assert said(text) == [(1, 2, "first\nsecond"), (3, 4, "third")]


def test_a_cue_may_begin_with_a_line_of_one_space() -> None:
    assert said(f"WEBVTT\n\n{ONE}\n \nwords\n") == [(1, 2, "words")]


@pytest.mark.parametrize(
    "header",
    ["WEBVTT", "WEBVTT - a title", "WEBVTT\tnotes\nKind: captions\nLanguage: en", "\ufeffWEBVTT"],
)
def test_what_the_header_says_is_no_cue(header: str) -> None:
    assert said(f"{header}\n\n{ONE}\nwords\n") == [(1, 2, "words")]


def test_a_cue_may_follow_the_header_at_once() -> None:
    assert said(f"WEBVTT\n{ONE}\nwords\n\n{TWO}\nmore\n") == [(1, 2, "words"), (3, 4, "more")]


def test_notes_styles_and_regions_are_no_cues() -> None:
    text = (
        f"WEBVTT\n\nSTYLE\n::cue {{ color: red }}\n\nREGION\nid:fred\nwidth:40%\n\n"
        f"NOTE a remark\nof two lines\n\n{ONE}\nwords\n\nNOTE\n\n{TWO}\nmore\n"
    )
    assert said(text) == [(1, 2, "words"), (3, 4, "more")]


@pytest.mark.parametrize("name", ["7", "intro", "00:01", "NOTE not a note", "a -> b"])
def test_a_cue_may_have_a_name(name: str) -> None:
    assert said(f"WEBVTT\n\n{name}\n{ONE}\n42\n") == [(1, 2, "42")]


def test_an_arrow_in_a_text_begins_another_cue() -> None:
    text = f"WEBVTT\n\n{ONE}\nwords\n{TWO}\nmore\n"
    assert said(text) == [(1, 2, "words"), (3, 4, "more")]
    assert said(f"WEBVTT\n\n{ONE}\n{TWO}\nmore\n") == [(3, 4, "more")]
    assert said(f"WEBVTT\n\nno\nname\n{ONE}\nwords\n") == [(1, 2, "words")]


@pytest.mark.parametrize(
    ("timing", "times"),
    [
        ("00:01.000 --> 00:02.000", (1, 2)),
        ("00:00:01.000-->00:00:02.000", (1, 2)),
        ("\t 00:01.000\t--> 00:02.000   align:start position:0%", (1, 2)),
        ("100:00:01.000 --> 1234:00:02.500", (360001, 4442402.5)),
        ("1:00:01.000 --> 1:00:02.000", (3601, 3602)),
        ("00:01.5 --> 00:02,25", (1.5, 2.25)),
        ("00:05.000 --> 00:05.000", (5, None)),
        ("00:05.000 --> 00:01.000", (5, None)),
    ],
)
def test_times(timing: str, times: tuple[float, float | None]) -> None:
    assert said(f"WEBVTT\n\n{timing}\nwords\n") == [(*times, "words")]


@pytest.mark.parametrize(
    "timing",
    [
        "00:61.000 --> 00:62.000",
        "00:60:00.000 --> 00:61:00.000",
        "1:2.000 --> 1:3.000",
        "00:01 --> 00:02",
        "-00:01.000 --> 00:02.000",
        "--> 00:02.000",
    ],
)
def test_a_cue_without_times_is_damaged(timing: str) -> None:
    text = f"WEBVTT\n\n{timing}\nlost\n\n{TWO}\nwords\n"
    assert said(text) == [(3, 4, "words")]
    assert damaged(text) == 1


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("<v Anna>I <b>love</b> it</v>", "I love it"),
        ("<v.loud\nAnna B.>so</v>", "so"),
        ("I<00:00:01.469><c> love</c><00:01.620><c.yellow.bg_blue> it</c>", "I love it"),
        ("<lang en-GB>tea</lang> <ruby>kan<rt>ji</rt></ruby>", "tea kanji"),
        ("<laughs>ha</laughs>", "ha"),
        ("fish &amp; chips &lt;3 &gt; &nbsp;x&lrm;", "fish & chips <3 > \xa0x\u200e"),
        ("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>"),
        ("I <3 you, a < b", "I <3 you, a < b"),
        ("AT&T & co", "AT&T & co"),
        ("{\\an8}up {not markup}", "up {not markup}"),
        ("open <b", "open <b"),
    ],
)
def test_markup(marked: str, plain: str) -> None:
    assert webvtt_plain(marked) == plain


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_and_encodings(tmp_path: Path, newline: str) -> None:
    text = f"WEBVTT\n\nNOTE x\n\n{ONE}\nGrüße\n \naus Köln\n\n{TWO}\nmore\n"
    path = tmp_path / "clip.vtt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_bytes(text.replace("\n", newline).encode(encoding))
        found = read_sidecar(path).captions
        assert [c.text for c in found] == ["Grüße\naus Köln", "more"]


def test_a_file_without_its_first_line_is_read() -> None:
    assert said(f"{ONE}\nwords\n") == [(1, 2, "words")]


def test_what_goes_on_for_ever_is_damaged() -> None:
    text = f"WEBVTT\n\n{ONE}\n" + "words\n" * 20_000 + f"\n{TWO}\nmore\n"
    assert said(text) == [(3, 4, "more")]
    assert damaged(text) == 1


def test_captions_made_by_youtube(vmm_data: Path) -> None:
    found = captions(vmm_data / "hard_media" / "youtube_rolling.mp4")
    assert [(c.start_s, c.text) for c in found.captions] == [
        (0.469, "I love this wonderful place"),
        (3.179, "it is great"),
        (5.51, "but the food was horrible"),
    ]
    assert found.warnings == ()
