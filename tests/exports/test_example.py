"""The program of an export is short and compiles, for every runtime and way to look."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from vmm_cli import bundles
from vmm_cli.exports.example import MAX_LINES, program
from vmm_cli.exports.formats import FORMATS
from vmm_cli.exports.network import Exportable
from vmm_cli.features.preprocess import Preprocess

LOOKS = {"pictures": (1, None), "clips": (4, None), "windows": (4, 2.0)}


@pytest.mark.parametrize(
    ("format", "resize", "look"),
    list(itertools.product(FORMATS, ("decoder", "bilinear", "antialias"), LOOKS)),
)
def test_it_is_short(format: str, resize: str, look: str) -> None:
    frames, window_s = LOOKS[look]
    numbers = replace(
        Preprocess(64, 56, 127.0, 128.0, frames=frames, rate_hz=2.0),
        resize=resize,  # type: ignore[arg-type]
    )
    row = FORMATS[format]
    model = Exportable(bundles.load("imagenet"), numbers, 1.0, window_s)
    text = program(model, row.package, row.load)
    assert len(text.splitlines()) <= MAX_LINES
    assert max(map(len, text.splitlines())) <= 100
    compile(text, "example.py", "exec")
