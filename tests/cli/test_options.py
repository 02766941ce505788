from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vmm_cli import errors
from vmm_cli.cli.app import run
from vmm_cli.operations.classify import ClassifyOptions
from vmm_cli.operations.options import check
from vmm_cli.operations.parse import (
    parse_count,
    parse_device,
    parse_max_pixels,
    parse_path,
    parse_positive_seconds,
    parse_time,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("12.5", Fraction(25, 2)),
        (".5", Fraction(1, 2)),
        ("90", 90),
        ("1:30", 90),
        ("01:02:03.250", Fraction(3723_250, 1000)),
        ("100:00:00", 360_000),
        ("0.1", Fraction(1, 10)),  # exact, not the nearest float
        (" 5 ", 5),
        (7, 7),
        (2.5, Fraction(5, 2)),
    ],
)
def test_times(text: object, seconds: Fraction) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "abc", "-1", "nan", "inf", "1e3", "1:60", "60:00:60", "1:2:3:4", "1,5", "٣"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a valid time|before the start"):
        parse_time(text)


def test_lengths_of_time_are_above_zero() -> None:
    assert parse_positive_seconds("0.25") == Fraction(1, 4)
    with pytest.raises(ValueError, match="above 0"):
        parse_positive_seconds("0")


def test_counts() -> None:
    assert parse_count("3") == 3
    for text in ("0", "-1", "1.5", "x", "", "²"):
        with pytest.raises(ValueError, match="at least 1"):
            parse_count(text)


def test_devices() -> None:
    assert [parse_device(word) for word in ("auto", "CPU", "cuda", "cuda:1")] == [
        "auto",
        "cpu",
        "cuda",
        "cuda:1",
    ]
    for text in ("gpu", "cuda:", "cuda:X", ""):
        with pytest.raises(ValueError, match=f"{text!r} is not a valid device"):
            parse_device(text)


def test_pixels() -> None:
    assert parse_max_pixels("8192x8192") == parse_max_pixels(67108864) == 8192 * 8192
    for text in ("0", "x", "8x", "8x0", "-4"):
        with pytest.raises(ValueError, match="not a valid number of pixels"):
            parse_max_pixels(text)


def test_an_empty_path_is_not_the_current_folder() -> None:
    assert parse_path("a b") == Path("a b")
    assert parse_path(".") == Path()
    with pytest.raises(ValueError, match="name is empty"):
        parse_path("")


@pytest.mark.parametrize("option", ["--output", "-o", "--log-file", "--config", "--files-from"])
def test_options_that_take_a_path_refuse_an_empty_one(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run(["extract-frames", "x.mp4", option, ""]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    name = "--output" if option == "-o" else option
    assert f"{name}: the name is empty; name a file" in said.err


def test_the_end_lies_after_the_start() -> None:
    check(ClassifyOptions(end=Fraction(1)))
    check(ClassifyOptions(start=Fraction(2)))
    for start, end in ((5, 3), (3, 3), (0, 0)):
        with pytest.raises(errors.UsageError, match="must lie after"):
            check(ClassifyOptions(start=Fraction(start), end=Fraction(end)))
