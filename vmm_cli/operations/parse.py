"""Words of a command line, a variable or a configuration file as values; ValueError otherwise."""

from __future__ import annotations

import csv
import re
from fractions import Fraction
from pathlib import Path

_SECONDS = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?", re.ASCII)
_PIXELS = re.compile(r"(\d+)(?:[xX](\d+))?", re.ASCII)
_BYTES = re.compile(r"(\d+\.?\d*|\.\d+)\s*([kmgt]?)(i?b)?", re.ASCII)
_RATE = re.compile(r"(\d+\.?\d*|\.\d+)(?:/(\d+))?", re.ASCII)
_SHARE = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
LEAST_MEMORY = 2**20
MOST_HOURLY = 1e6


def parse_time(text: object) -> Fraction:
    """Return seconds from "12.5", "MM:SS[.mmm]" or "HH:MM:SS[.mmm]". ValueError otherwise.

    >>> float(parse_time("1:02:03.5"))
    3723.5
    """
    word = str(text).strip()
    if _SECONDS.fullmatch(word):
        return Fraction(word)
    if word.startswith("-"):
        raise ValueError(f"{word!r} lies before the start of the video")
    clock = _CLOCK.fullmatch(word)
    if clock is None:
        raise ValueError(f"{word!r} is not a valid time; give seconds (12.5) or [HH:]MM:SS[.mmm]")
    hours, minutes, seconds = clock.groups()
    if int(minutes) >= 60 or Fraction(seconds) >= 60:
        raise ValueError(f"{word!r} is not a valid time: minutes and seconds go up to 59")
    return int(hours or 0) * 3600 + int(minutes) * 60 + Fraction(seconds)


def parse_positive_seconds(text: object) -> Fraction:
    """Return seconds above zero, written as `parse_time` reads them. ValueError otherwise."""
    seconds = parse_time(text)
    if seconds <= 0:
        raise ValueError(f"{str(text)!r} is not above 0 seconds")
    return seconds


def parse_count(text: object) -> int:
    """Return a whole number of at least 1. ValueError otherwise."""
    word = str(text).strip()
    if not re.fullmatch(r"\d+", word, re.ASCII) or int(word) < 1:
        raise ValueError(f"{word!r} is not a whole number of at least 1")
    return int(word)


def parse_device(text: object) -> str:
    """Return "auto", "cpu", "cuda" or "cuda:N". ValueError otherwise."""
    word = str(text).strip().lower()
    if not _DEVICE.fullmatch(word):
        raise ValueError(f"{str(text)!r} is not a valid device; give auto, cpu, cuda or cuda:N")
    return word


def parse_max_pixels(text: object) -> int:
    """Return a number of pixels from "67108864" or "8192x8192". ValueError otherwise."""
    word = str(text).strip()
    match = _PIXELS.fullmatch(word)
    pixels = 0 if match is None else int(match.group(1)) * int(match.group(2) or 1)
    if pixels < 1:
        raise ValueError(f"{word!r} is not a valid number of pixels; give 67108864 or 8192x8192")
    return pixels


def parse_memory(text: object) -> int:
    """Return bytes from "900M", "1.5G" or "2GiB", in powers of 1024; 0 from "none".

    ValueError otherwise, and for less than 1M.
    """
    word = str(text).strip().lower()
    if word in ("none", "0"):
        return 0
    match = _BYTES.fullmatch(word)
    size = 0 if match is None else int(Fraction(match[1]) * 1024 ** " kmgt".index(match[2] or " "))
    if size < LEAST_MEMORY:
        raise ValueError(f"{str(text)!r} is no amount of memory; give 900M, 1.5G or none")
    return size


def parse_file_name(text: object) -> str:
    """Return the name of a file. ValueError where it is empty."""
    name = str(text)
    if not name:
        raise ValueError("the name is empty; name a file or a folder, or . for the current one")
    return name


def parse_path(text: object) -> Path:
    """Return a path. ValueError where it is empty, which Path would take for the current folder."""
    return Path(parse_file_name(text))


def parse_score(text: object) -> float:
    """Return a score from 0 to 1. ValueError otherwise."""
    word = str(text).strip()
    if not _SHARE.fullmatch(word) or float(word) > 1:
        raise ValueError(f"{word!r} is not a valid score; give a number from 0 to 1")
    return float(word)


def parse_hourly(text: object) -> float:
    """Return how often something happens in an hour, a number from 0. ValueError otherwise."""
    word = str(text).strip()
    if not _SHARE.fullmatch(word) or float(word) > MOST_HOURLY:
        raise ValueError(f"{word!r} is not a number from 0 to {MOST_HOURLY:g}")
    return float(word)


def parse_labels(text: object) -> tuple[str, ...]:
    """Return the labels of a comma-separated list; one that holds a comma stands in quotes.

    ValueError where there is none.

    >>> parse_labels('run, "stop, then go"')
    ('run', 'stop, then go')
    """
    (row,) = csv.reader([" ".join(str(text).split())], skipinitialspace=True)
    labels = tuple(dict.fromkeys(label.strip() for label in row if label.strip()))
    if not labels:
        raise ValueError("no label is given; give them as a,b")
    return labels


def parse_rate(text: object) -> Fraction:
    """Return frames per second from "5", "0.5" or "30000/1001". ValueError otherwise."""
    word = str(text).strip()
    match = _RATE.fullmatch(word)
    if match is None or not Fraction(match[1]) or (match[2] and not int(match[2])):
        raise ValueError(f"{word!r} is not a frame rate above 0; give 5, 0.5 or 30000/1001")
    return Fraction(match[1]) / int(match[2] or 1)
