"""What experts say: checked where it is made."""

from __future__ import annotations

import pytest

from vmm_cli.analysis.sentiment.evidence import MISSING, Missing


def test_a_reason_is_one_of_those_there_are() -> None:
    for code in MISSING:
        assert Missing(code, "in words").code == code
    with pytest.raises(ValueError, match="'no_smell' is none of no_video, "):
        Missing("no_smell", "in words")
