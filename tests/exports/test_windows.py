"""Which models that see windows can be exported, and why others cannot."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.exports.kinds import exportable
from vmm_cli.exports.windows import _obstacle


def test_what_stands_in_the_way() -> None:
    fights = bundles.load("fights")
    assert "sees of a video: image, motion" in _obstacle(fights, Fraction(20))
    alone = replace(fights, streams=("image",))
    assert _obstacle(alone, Fraction(20)) == ""
    assert "overlap by 2.5 steps" in _obstacle(alone, Fraction(5))
    assert "train it again" in _obstacle(replace(alone, graphs={}), Fraction(20))
    valence = replace(alone, network={**alone.network, "head": "valence"})
    assert "its head is 'valence'" in _obstacle(valence, Fraction(20))


def test_a_model_that_is_damaged_is_told() -> None:
    fights = bundles.load("fights")
    with pytest.raises(ModelError, match="'fights' has a network this vmm cannot run"):
        exportable(replace(fights, streams=("image",)))
