from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.output.escape import escape_controls, escape_json

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


def test_terminal_codes_and_line_ends_are_shown_not_obeyed() -> None:
    assert escape_controls("\x1b]0;owned\x07a\nb\tc\x9b31m") == r"\x1b]0;owned\x07a\nb\tc\x9b31m"


def test_text_that_reads_backwards_is_shown() -> None:
    assert escape_controls("gpj.\u202emp4") == "gpj.\\u202emp4"


def test_bytes_that_are_no_utf8_show_as_bytes() -> None:
    assert escape_controls(b"caf\xe9.mp4".decode("utf-8", "surrogateescape")) == r"caf\xe9.mp4"


def test_ordinary_text_stays() -> None:
    assert escape_controls("Straße 北京 🎬 é") == "Straße 北京 🎬 é"


@given(ANY_TEXT)
def test_escaped_text_is_one_line_of_utf8_without_controls(text: str) -> None:
    escaped = escape_controls(text)
    escaped.encode("utf-8")
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in escaped)


@given(ANY_TEXT)
def test_escaped_json_gives_the_same_text_back(text: str) -> None:
    line = escape_json(json.dumps(text, ensure_ascii=False))
    line.encode("utf-8")
    assert json.loads(line) == text
    assert len(line.splitlines()) == 1
