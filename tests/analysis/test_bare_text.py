"""Text that carries no feeling, and text that does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.sentiment.bare_text import title_with_feeling, with_feeling

BARE = (
    "www.best-prices.com",
    "https://www.love-films.net/happy?id=3",
    "Visit www.best-prices.com",
    "info@happy-people.org",
    "@lovely_channel",
    "1920x1080",
    "720p25, 48 kHz",
    "00:01:23:12",
    "2020-01-05 10:11",
    "+44 20 7946 0958",
    "42",
    "holiday_final_best.mp4",
    "IMG_2041.MOV",
    "great-day.final.mkv",
    "Channel 4 test card",
    "SMPTE colour bars, best quality",
    "Test pattern - perfect white",
    "10 Downing Street, London SW1A 2AA",
    "24 Paradise Road, Richmond",
    "Copyright 2019 Happy Days Films Ltd. All rights reserved.",
    "\u00a9 2020 Paradise Pictures",
    "(c) 1999 Love & Peace Records",
    "Creative Commons Attribution 3.0",
    "Directed by Grace Love",
    "DIRECTED BY\nGRACE LOVE",
    "Written and directed by Joy Brave",
    "Executive producer: Victor Rich",
    "Subtitles by Hope Freeman",
    "Starring Faith Bright and Angel Strong",
    "Music by The Killers",
    "Paradise Pictures presents",
    "Encoded by HandBrake 1.3",
)
NAMES = ("Big Buck Bunny, Sunflower version", "Untitled", "Video 12", "Core Media Video", "Talk")
FELT = (
    "What a wonderful, happy day!",
    "He went to the store.",
    "In 2019 we moved to Berlin.",
    "I give it 10 out of 10.",
    "Protecting a copyright is one thing.",
    "This test card drives me mad, I have seen it for hours.",
    "We met at 10 Downing Street and he was horrible.",
    "Written by idiots, for idiots.",
    "Directed by a fool who hates films.",
    "Made with love.",
    "Great!",
    "I",
    ":(",
    "@somebody 42 :(",
    "@somebody Hmm. Maybe.",
    "What is 2 + 2?",
    "Oh no",
)


@pytest.mark.parametrize("text", BARE)
def test_what_carries_no_feeling_is_nothing(text: str) -> None:
    assert with_feeling(text) == title_with_feeling(text) == ""


@pytest.mark.parametrize("text", NAMES)
def test_a_title_that_only_names_something_is_nothing(text: str) -> None:
    assert title_with_feeling(text) == ""


@pytest.mark.parametrize("text", FELT)
def test_what_people_say_stays_as_it_is(text: str) -> None:
    assert with_feeling(text) == text


def test_only_what_carries_none_is_left_out() -> None:
    text = (
        "What a lovely trip!\nDirected by Grace Love\nSee https://a.org/b for more of it, please."
    )
    assert with_feeling(text) == "What a lovely trip!\nSee for more of it, please."
    assert title_with_feeling("The worst day ever, part 2\nbad.mp4") == "The worst day ever, part 2"


def test_a_description_loses_its_rights_alone() -> None:
    text = "A moving story of two friends. \u00a9 2008 Happy Films Ltd. All rights reserved."
    assert with_feeling(text) == "A moving story of two friends."


@pytest.mark.parametrize("part", ["a.", "a@", "a-", "1 A ", "copyright ", "by A ", "_", "test "])
def test_long_texts_take_no_time(part: str) -> None:
    assert len(with_feeling(part * (65_536 // len(part)))) <= 65_536


@given(st.text(max_size=200))
def test_any_text_loses_lines_and_words_alone(text: str) -> None:
    felt = with_feeling(text)
    assert set(felt.split()) <= set(text.split())
    assert all(line.strip() for line in felt.splitlines())
