"""SubRip: times, counters, and what is markup and what is text."""

from __future__ import annotations

import pytest

from vmm_cli.media.cues import with_line_feeds
from vmm_cli.media.subrip import parse_subrip, subrip_plain

Said = list[tuple[float, float | None, str]]


def said(text: str) -> Said:
    cues = [cue for cue in parse_subrip(text) if cue is not None]
    return [(cue.start_s, cue.end_s, cue.text) for cue in cues]


@pytest.mark.parametrize(
    ("timing", "times"),
    [
        ("00:00:01,000 --> 00:00:02,500", (1, 2.5)),
        ("0:0:1,5-->0:0:2.25", (1.5, 2.25)),
        ("00:01,000 --> 00:02,000", (1, 2)),
        ("00:00:01 --> 00:00:02", (1, 2)),
        (" 00:00:01,000 -> 100:00:02,000 X1:10 X2:20", (1, 360002)),
        ("00: 00: 01, 000 --> 00: 00: 02, 000", (1, 2)),
        ("00:00:05,000 --> 00:00:05,000", (5, None)),
    ],
)
def test_times(timing: str, times: tuple[float, float | None]) -> None:
    assert said(f"1\n{timing}\nwords\n") == [(*times, "words")]


def test_what_begins_before_the_video_is_shown_from_its_start() -> None:
    text = (
        "1\n-00:00:09,000 --> -00:00:05,000\nnever\n\n"
        "2\n-00:00:04,567 --> 00:00:01,000\nfirst\n\n"
        "3\n00:00:-1,-500 --> 00:00:02,000\nsecond\n\n"
        "4\n00:00:03,000 --> 00:00:04,000\nthird\n"
    )
    assert said(text) == [(0, 1, "first"), (0, 2, "second"), (3, 4, "third")]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        ("I <3 you, it's 3>2 and 1<2", "I <3 you, it's 3>2 and 1<2"),
        ("<laughs> <no way> <email@x.org>", "<laughs> <no way> <email@x.org>"),
        ("<i>I</i> <B>love</B> < u >it</ u >", "I love it"),
        ('<font color="red" size=3>red</font>', "red"),
        ("<font color=#fff>a</font><s>b</s><strike>c</strike>", "abc"),
        ("<c.yellow>a</c> <v Anna>b</v> <lang en>c</lang> <ruby>d<rt>e</rt></ruby>", "a b c de"),
        ("I<00:00:01.469><c> love</c> it", "I love it"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("{\\an8}up {\\pos(1,2)}there {y:i}so", "up there so"),
        ("{music} {", "{music} {"),
        ("one\\Ntwo\\hthree", "one\ntwo three"),
        ("<b", "<b"),
        ("<bold words>", "<bold words>"),
    ],
)
def test_markup(marked: str, plain: str) -> None:
    assert subrip_plain(marked) == plain


def test_counters_are_no_text_and_numbers_are() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nin\n1984\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\n\n"
        "3\n00:00:05,000 --> 00:00:06,000\nwithout a gap\n4\n00:00:07,000 --> 00:00:08,000\n"
        "two\n\nparagraphs\n\n5\n00:00:09,000 --> 00:00:10,000\nthe last:\n42\n"
    )
    assert [words for _, _, words in said(text)] == [
        *("in\n1984", "without a gap", "two\nparagraphs", "the last:\n42")
    ]
    cut = "1\n00:00:01,000 --> 00:00:02,000\nwords\n\n2\n"
    assert said(cut) == [(1, 2, "words")]
    assert said("00:00:01,000 --> 00:00:02,000\nno counters\n\n")[0][2] == "no counters"


def test_empty_lines_around_counters() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nin\n1984\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\nthe last:\n42\n"
    )
    plain = said(text)
    assert [words for _, _, words in plain] == ["in\n1984", "the last:\n42"]
    assert said(text.replace("\n", "\n\n")) == plain
    assert said(with_line_feeds(text.replace("\n", "\r\r\n"))) == plain
    uncounted = "00:00:01,000 --> 00:00:02,000\nin\n1984\n\n00:00:03,000 --> 00:00:04,000\n7\n\n"
    uncounted += "00:00:05,000 --> 00:00:06,000\nwords\n"
    assert [words for _, _, words in said(uncounted)] == ["in\n1984", "7", "words"]


def test_a_cue_without_times_is_damaged() -> None:
    text = "1\n00:00:01,000 --> 00:0\nlost\n\n2\n00:00:03,000 --> 00:00:04,000\nwords\n"
    cues = list(parse_subrip(text))
    assert cues[0] is None
    assert said(text) == [(3, 4, "words")]


def test_text_that_only_looks_like_times() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nfrom 10:30 -> 11:45\n10:30 -> 11:45\nA ---> B\n"
    assert said(text) == [(1, 2, "from 10:30 -> 11:45\n10:30 -> 11:45\nA ---> B")]
