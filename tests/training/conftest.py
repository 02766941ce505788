from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A feature store of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path_factory.mktemp("cache")))
        yield
