"""How what is wrong with a bundle's files is told."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmm_cli.errors import ModelError
from vmm_cli.plain_file import UnreadableError
from vmm_cli.plain_yaml import YamlError

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring = 2, 4, 4, 80


@contextmanager
def as_model_error(path: Path) -> Iterator[None]:
    """Say of which file of a bundle it is that it cannot be read."""
    try:
        yield
    except UnreadableError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise ModelError(f"{path}: {'is missing' if missing else error}") from None
    except YamlError as error:
        raise ModelError(f"{path}: is not readable as YAML: {error}") from None


def short(value: object) -> str:
    """Return a value as it is shown in a message, which stays short whatever a file says."""
    return _SHORT.repr(value)
