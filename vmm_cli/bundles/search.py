"""Where bundles are looked for, and by which names they are found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vmm_cli.bundles.bundle import BUNDLE_FILE, FOLDER_NAME, BrokenBundle, Bundle, is_name
from vmm_cli.bundles.bundle_file import read
from vmm_cli.bundles.published import FETCHABLE, how_to_get
from vmm_cli.bundles.weights import look_at_weights, verify
from vmm_cli.errors import ModelError
from vmm_cli.suggest import did_you_mean


def packaged_models() -> Path:
    """Return the folder of the bundles that ship with vmm, in a wheel and in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def user_models() -> Path:
    """Return the folder of the user's own bundles; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_data_dir("vmm")) / "models"


def search_folders() -> tuple[Path, ...]:
    """Return the folders in which bundles lie, in the order they are looked through.

    A bundle is a folder NAME in one of them, or FAMILY/NAME, and is called so. First come those in
    the environment variable VMM_MODELS (separated as in PATH), then the user's, then the packaged.
    """
    listed = os.environ.get("VMM_MODELS", "").split(os.pathsep)
    return (*(Path(f) for f in listed if f), user_models(), packaged_models())


def find(name: str) -> Path:
    """Return the folder of the bundle that `--model NAME` means: a path to one, or its name.

    Raises:
        ModelError: there is none; the message names similar ones, or says how to fetch it.
    """
    if _is_bundle(Path(name)):
        return Path(name)
    if is_name(name):
        for folder in search_folders():
            if _is_bundle(folder / name):
                return folder / name
    if Path(name).is_dir():
        raise ModelError(f"{name!r} is a folder without {BUNDLE_FILE}, so it is no model bundle")
    if name in FETCHABLE:
        raise ModelError(f"model {name!r} is not on this machine yet; {how_to_get(name)}")
    known = [*(bundle.name for bundle in list_bundles()), *FETCHABLE]
    hint = did_you_mean(name, known) or "."
    raise ModelError(f"no model named {name!r}{hint} See `vmm models list`")


def list_bundles() -> tuple[Bundle | BrokenBundle, ...]:
    """Return what lies in the search folders, by name; the first of a name hides the others.

    Of the weights only the header is read, so that this is quick.
    """
    found: dict[str, Bundle | BrokenBundle] = {}
    for folder in search_folders():
        try:
            for name, candidate in _bundles_in(folder):
                if name not in found:
                    found[name] = _read_or_explain(candidate, name)
        except OSError as error:
            reason = f"cannot be looked into: {error.strerror}"
            found[str(folder)] = BrokenBundle(folder, reason, str(folder))
    return tuple(found[name] for name in sorted(found))


def _bundles_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the bundles of a folder, and those of the families in it, with their names."""
    for path in _subfolders(folder):
        if _is_bundle(path):
            yield path.name, path
            continue
        for inner in _subfolders(path):
            if _is_bundle(inner):
                yield f"{path.name}/{inner.name}", inner


def _is_bundle(folder: Path) -> bool:
    """Tell whether a folder means to be a bundle, though it may be a broken one.

    One that may not be looked into may be one: reading it says what is wrong.
    """
    try:
        os.lstat(folder / BUNDLE_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return os.path.lexists(folder)
    return True


def _subfolders(folder: Path) -> list[Path]:
    """Return what may be bundles or families; OSError where a folder may not be looked into."""
    try:
        return [path for path in folder.iterdir() if FOLDER_NAME.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_or_explain(folder: Path, name: str) -> Bundle | BrokenBundle:
    try:
        bundle = read(folder)
        look_at_weights(bundle)
        return replace(bundle, name=name)  # a copy is found by its own folder's name
    except ModelError as error:
        return BrokenBundle(folder, str(error), name)


def load(name: str) -> Bundle:
    """Find a bundle by path or name, read what it says, and verify its weights.

    Raises:
        ModelError: not found, damaged, of a newer schema, or with weights, labels or a network that
            are not the ones it was saved with.
    """
    bundle = read(find(name))
    verify(bundle)
    return bundle
