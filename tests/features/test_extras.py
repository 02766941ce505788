"""The packages of an extra: which error says that one is absent, and which that one is damaged."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vmm_cli.errors import ModelError
from vmm_cli.features.extras import Extra, NotInstalledError

EXTRA = Extra("speech", "speech recognition")


def error_of(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelError:
    """Return the error of importing a package whose first file holds `program`."""
    name = f"vmm_extra_{abs(hash(program))}"
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(program)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ModelError) as caught, EXTRA.loading():
        importlib.import_module(name)
    return caught.value


@pytest.mark.parametrize("program", ["import vmm_has_no_such_package", "import vmm_no.part"])
def test_what_a_package_needs_can_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    error = error_of(program, tmp_path, monkeypatch)
    assert isinstance(error, NotInstalledError)
    assert "run: pip install 'vmm-cli[speech]'" in str(error)


@pytest.mark.parametrize(
    "program",
    [
        "raise ImportError('libmodel.so: cannot open')",
        "from .gone import part",
        "import os.gone",
        "1 / 0",
        "broken here",
    ],
)
def test_a_damaged_package_is_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    error = error_of(program, tmp_path, monkeypatch)
    assert not isinstance(error, NotInstalledError)
    assert "run: pip install --force-reinstall 'vmm-cli[speech]'" in str(error)
    assert "\n" not in str(error)


def test_an_error_that_says_what_to_do_is_left_as_it_is() -> None:
    with pytest.raises(ModelError, match=r"^fetch it again$"), EXTRA.loading():
        raise ModelError("fetch it again")


def test_a_package_is_found_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmm_never_run").mkdir()
    (tmp_path / "vmm_never_run" / "__init__.py").write_text("1 / 0")
    (tmp_path / "vmm_lone_file.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert EXTRA.folder("vmm_never_run") == tmp_path / "vmm_never_run"
    for name in ("vmm_not_there", "vmm_lone_file"):
        with pytest.raises(NotInstalledError, match=name):
            EXTRA.folder(name)
