"""The packages of an extra: where they lie, and the errors where they are absent or damaged."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vmm_cli.errors import ModelError


class NotInstalledError(ModelError):
    """A package of an extra is absent, as it is wherever the extra was not asked for."""


@dataclass(frozen=True)
class Extra:
    """An extra that vmm can be installed with: its name, and what it is for."""

    name: str
    purpose: str

    def folder(self, package: str) -> Path:
        """Return where a package lies, without running it. NotInstalledError where it does not."""
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise self.not_installed(f"no package named {package!r}")
        return Path(spec.submodule_search_locations[0])

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Guard the import and the first use of packages.

        Raises:
            NotInstalledError: one is absent, or one that it needs.
            ModelError: one is damaged, or of a version that does not do.
        """
        try:
            yield
        except ModelError:
            raise
        except Exception as error:  # what packages raise that are not whole has no common type
            if isinstance(error, ModuleNotFoundError) and "." not in (error.name or "."):
                raise self.not_installed(str(error)) from None
            raise self.unusable(f"{type(error).__name__}: {error}") from None

    def not_installed(self, reason: str) -> NotInstalledError:
        """Return the error for a package that is absent."""
        return NotInstalledError(
            f"{self.purpose}: not installed ({reason}); run: pip install 'vmm-cli[{self.name}]'"
        )

    def unusable(self, reason: str) -> ModelError:
        """Return the error for a package that is there, and damaged or not as it must be."""
        return ModelError(
            f"{self.purpose}: {' '.join(reason.split())}; "
            f"run: pip install --force-reinstall 'vmm-cli[{self.name}]'"
        )
