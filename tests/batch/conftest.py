"""Workers of these tests are started as users' are: how they start is part of what is tested."""

from __future__ import annotations

import multiprocessing.util

import pytest

START_AFRESH = multiprocessing.util.spawnv_passfds


@pytest.fixture(autouse=True)
def started_afresh(forked_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", START_AFRESH)
