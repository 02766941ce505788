"""SubStation Alpha: fields by the Format line, markup, and what is made to do harm."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from vmm_cli.media.captions import captions, read_sidecar
from vmm_cli.media.substation import (
    BLOCK_FIELDS,
    block_names,
    block_text,
    parse_substation,
    substation_plain,
)

Said = list[tuple[float, float | None, str]]


def said(*lines: str) -> Said:
    cues = [cue for cue in parse_substation("\n".join(lines)) if cue is not None]
    return [(cue.start_s, cue.end_s, cue.text) for cue in cues]


STYLES = ("[V4+ Styles]", "Format: Name, Fontname, Text, Start, End", "Style: Default,Arial,1,2,3")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("Layer, Start, End, Style, Name, Text", "0,0:00:01.00,0:00:02.50,Default,Ann,one, two"),
        ("Start, End, Text", "0:00:01.00,0:00:02.50,one, two"),
        ("Text, Start, End", "one, two,0:00:01.00,0:00:02.50"),
        ("End,Start,Style,Text,Effect", "0:00:02.50,0:00:01.00,Default,one, two,fade"),
        ("layer , START,end,  text", "0, 0:00:01.00 ,0:00:02.50,one, two"),
        (
            "Marked, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text",
            "Marked=0,0:00:01.00,0:00:02.50,Default,,0000,0000,0000,,one, two",
        ),
        ("Style, Name", "0,0:00:01.00,0:00:02.50,Default,,0,0,0,,one, two"),
    ],
)
def test_fields_are_as_the_format_line_says(fields: str, line: str) -> None:
    found = said(*STYLES, "[Events]", f"Format: {fields}", f"Dialogue: {line}")
    assert found == [(1, 2.5, "one, two")]


def test_without_a_format_line_the_fields_are_the_usual_ones() -> None:
    assert said("Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,one, two") == [
        (1, 2.5, "one, two")
    ]


@pytest.mark.parametrize(
    ("start", "start_s"),
    [("0:00:04.56", 4.56), ("0:00:04:56", 4.56), ("12:00:00.5", 43200.5), ("-0:00:01.00", 0)],
)
def test_times(start: str, start_s: float) -> None:
    line = f"Dialogue: 0,{start},13:00:00.00,Default,,0,0,0,,words"
    assert said("[Events]", line) == [(start_s, 46800, "words")]


def test_bad_lines_are_counted() -> None:
    text = "[Events]\nDialogue: 0,when,0:00:01.00,D,,0,0,0,,x\nDialogue: 0,1\nComment: 0,1\n"
    assert list(parse_substation(text)) == [None, None]


@pytest.mark.parametrize(
    ("marked", "plain"),
    [
        (r"{\b1}Two{\b0}\Nlines\nof\htext", "Two\nlines\nof text"),
        (r"{\p1}m 0 0 l 9 9{\p0}words", "words"),
        (r"words{\p1}m 0 0 l 9 9", "words"),
        (r"{\pos(1,2)\p2\bord0}m 0 0{\p0}a{\pbo5}b", "ab"),
        (r"a{comment}b{\k20{\k30}c", "abc"),
        ("a { b", "a { b"),
        ("a } b", "a } b"),
        (r"{\p0000}a{\p" + "9" * 5000 + "}b", "a"),
    ],
)
def test_markup(marked: str, plain: str) -> None:
    assert substation_plain(marked) == plain


@pytest.mark.parametrize("bomb", ["{", "{}", r"{\p1}", r"{\b1{", "\\N{"])
def test_memory_follows_the_size_of_the_text(bomb: str) -> None:
    size = 2**18
    marked = bomb * (size // len(bomb))
    tracemalloc.start()
    substation_plain(marked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * size


def test_a_line_that_is_no_caption_costs_itself_only(tmp_path: Path) -> None:
    line = "Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,"
    path = tmp_path / "clip.ass"
    path.write_text(f"[Events]\n{line}{{\\b1}}" + "{\\i1}" * 50_000 + f"x\n{line}words\n")
    found = read_sidecar(path)
    assert [c.text for c in found.captions] == ["words"]
    assert found.warnings == ("clip.ass: 1 damaged lines were left out",)


def test_blocks_of_matroska() -> None:
    assert block_names("") == BLOCK_FIELDS
    usual = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
    assert block_names(f"[Events]\nFormat: {usual}\n") == BLOCK_FIELDS
    short = block_names("[Events]\nFormat: Layer, Start, End, Style, Name, Text\n")
    assert block_text("7,0,Default,Ann,one, two", short) == "one, two"
    assert block_text("7,0,Default,Ann,0,0,0,,one, two", short) == "one, two"
    assert block_text("7,0,Default,Ann,0,0,0,,one, two", BLOCK_FIELDS) == "one, two"
    assert block_text("7,0,Default", BLOCK_FIELDS) is None


def test_a_real_file_with_six_fields(vmm_data: Path) -> None:
    found = captions(vmm_data / "hard_media" / "captions" / "ass_short_format.mp4")
    assert [(c.start_s, c.end_s, c.text) for c in found.captions] == [
        (0, 1.23, "This is the first subtitle."),
        (2.34, 3.45, "This is the second subtitle\nwith a newline\nand another."),
        (4.56, 8.9, "This is the third subtitle, with a comma."),
    ]
    assert found.warnings == ()
