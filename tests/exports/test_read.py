from __future__ import annotations

from pathlib import Path

import pytest

from vmm_cli.errors import ModelError
from vmm_cli.exports.folder import SCHEMA
from vmm_cli.exports.read import load


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &b [*b]", "[]", f"schema: {SCHEMA}", f"schema: {SCHEMA}\nfiles: {{}}", "\xff"],
)
def test_a_damaged_description_is_no_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "export.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="export the model again"):
        load(str(tmp_path))
