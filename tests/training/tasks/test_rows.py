"""The rows of the tasks."""

from __future__ import annotations

import pickle

import pytest

from vmm_cli.training.tasks.catalogue import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_data_sets_can_go_to_other_processes(name: str) -> None:
    kind = TASKS[name].kind
    assert pickle.loads(pickle.dumps(kind)) == kind
