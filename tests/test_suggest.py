"""Guesses at what was meant: near names only."""

from __future__ import annotations

import pytest

from vmm_cli.suggest import did_you_mean, distance


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("--evry", ["--every", "--start"], "--every"),
        ("--min-score", ["--no-store", "--model"], None),
        ("--device", ["--evidence", "--every"], None),
        ("fihgts", ["fights", "falls"], "fights"),
        ("FIGHTS", ["fights"], "fights"),
        ("image", ["imagenet", "fights"], "imagenet"),
        ("--output-dir", ["--output", "--overwrite"], "--output"),
        ("lst", ["list", "path"], "list"),
        ("-z", ["-0", "-k"], None),
        ("ab", ["abcdef"], None),
        ("", ["list"], None),
        ("x", [], None),
        ("clips", ["classify"], None),
        ("resnet18", ["torchvision/resnet18", "torchvision/resnet50"], "torchvision/resnet18"),
        ("torchvision/resnet81", ["torchvision/resnet18", "resnet"], "torchvision/resnet18"),
        ("torch", ["torchvision/resnet18"], None),
    ],
)
def test_only_what_is_near_is_meant(word: str, known: list[str], meant: str | None) -> None:
    assert did_you_mean(word, known) == (f"; did you mean {meant!r}?" if meant else "")


@pytest.mark.parametrize(
    ("first", "second", "slips"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "abc", 0),
        ("abc", "ABC", 0),
        ("abc", "abd", 1),
        ("abc", "acb", 1),
        ("abcd", "badc", 2),
        ("kitten", "sitting", 3),
    ],
)
def test_distance(first: str, second: str, slips: int) -> None:
    assert distance(first, second) == distance(second, first) == slips
