"""Which engine: what the user says, and what is there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmm_cli.engines import choice
from vmm_cli.errors import ModelError, UsageError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What is found out once a process is found out again in each test."""
    real = sys.modules.get("onnxruntime")
    choice._runtime.cache_clear()
    yield
    choice._runtime.cache_clear()
    sys.modules.pop("onnxruntime", None)
    if real is not None:
        sys.modules["onnxruntime"] = real


def test_an_unknown_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_ENGINE", "abacus")
    with pytest.raises(
        UsageError, match="VMM_ENGINE is 'abacus'; it is auto, torch or onnxruntime"
    ):
        choice.chosen_engine()
    monkeypatch.setenv("VMM_ENGINE", "")
    assert choice.chosen_engine() == "auto"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "onnxruntime cannot be imported"),
        ("raise OSError('Illegal instruction')", "Illegal instruction"),
        ("__version__ = '1.20.1'", "onnxruntime 1.20.1 is too old"),
    ],
)
def test_a_runtime_that_does_not_run(
    program: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("VMM_ENGINE", raising=False)
    absent: Any = None
    if program is None:
        sys.modules["onnxruntime"] = absent
    else:
        (tmp_path / "onnxruntime.py").write_text(program)
        monkeypatch.syspath_prepend(tmp_path)
        sys.modules.pop("onnxruntime", None)
    with caplog.at_level(logging.WARNING):
        assert choice.runtime() is None
        assert choice.runtime() is None
    (line,) = caplog.messages  # once
    assert said in line
    assert "pip install --upgrade 'onnxruntime>=1.24'" in line
    monkeypatch.setenv("VMM_ENGINE", "onnxruntime")
    with pytest.raises(ModelError, match="pip install --upgrade"):
        choice.runtime()


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choice.threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert choice.threads() >= 1
