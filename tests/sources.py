"""The modules of the package as trees, parsed once however many tests look at them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import vmm_cli

PACKAGE = Path(vmm_cli.__file__).parent


@cache
def texts() -> dict[str, str]:
    """Return the text of each file, by its path in the package: `cli/app.py`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in paths}


@cache
def trees() -> dict[str, ast.Module]:
    """Return the tree of each file. Not to be changed."""
    return {name: ast.parse(text) for name, text in texts().items()}
