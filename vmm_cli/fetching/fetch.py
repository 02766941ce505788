"""Bring a published model to this machine: download, check, convert, and only then put in place.

Everything is made in a hidden folder beside the user's models and renamed when it is whole and on
disk. Its graph comes last: PyTorch runs a model without one, and the same command writes it later.
Nothing here runs unasked: `vmm models fetch` alone calls it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vmm_cli import bundles
from vmm_cli.batch.lock import lock
from vmm_cli.bundles import Bundle
from vmm_cli.bundles.published import by_hand
from vmm_cli.durable import sync_folder
from vmm_cli.errors import LockedError, ModelError, OutputError
from vmm_cli.fetching import download
from vmm_cli.fetching.published_file import PublishedFile
from vmm_cli.fetching.sources import Source, fetchable
from vmm_cli.files import as_output_error
from vmm_cli.plain_file import size_text
from vmm_cli.suggest import did_you_mean

WORK_FOLDER = ".fetch"  # in the user's models: the same file system, so that a rename is enough
FETCHED_FILES = frozenset(
    {
        *(bundles.BUNDLE_FILE, bundles.WEIGHTS_FILE, bundles.GRAPH_FILE),
        *("CARD.md", "recipe.yaml", "metrics.json"),
    }
)
MIRROR_VARIABLE = "VMM_MODELS_URL"

# What is being done ("downloading", "converting"), bytes so far, bytes in all where known.
OnProgress = Callable[[str, int, int | None], None]

# A file of the same network can be stored in another way, but not in twice the space.
LARGEST_FILE = 1.5

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Fetched:
    """A model that is now on this machine.

    Attributes:
        already: it was there before.
        is_original: its file is the one that is published.
        graphed: its graph was written now.
        no_graph: why it has none, so that PyTorch runs it; "" where it has one, or wants none.
    """

    bundle: Bundle
    already: bool
    is_original: bool
    graphed: bool = False
    no_graph: str = ""


@dataclass(frozen=True)
class _Wanted:
    """A model that is to be fetched: its name, where it comes from, and its file there."""

    name: str
    source: Source
    file: PublishedFile

    @property
    def max_bytes(self) -> int:
        """How large the file of its weights can be."""
        return int(LARGEST_FILE * self.file.size_mib * 2**20)


def fetch(
    name: str, source: str | None = None, *, force: bool = False, on_progress: OnProgress
) -> Fetched:
    """Make the published model `name` one of the user's bundles, and write its graph.

    source: an http(s) address or a file, in place of where the weights are published (or of the
    mirror in $VMM_MODELS_URL, to which the file's name is appended); force: also where the model
    is there, or a folder with files of a model's names that no fetch made.

    Raises:
        ModelError: no such model, the file cannot be had, or is not what it should be.
        OutputError: the models folder cannot be written, or holds something of the user's there.
        LockedError: another process fetches the same model.
    """
    wanted = _wanted(name)
    if not force and (there := _there(name)) is not None:
        return _that_was_there(wanted, there, on_progress)
    target = bundles.user_models() / name
    _refuse_foreign(target)
    if not force:
        _refuse_made_by_others(target)
    with _held(name) as work:
        if not force and (there := _there(name)) is not None:  # another process was quicker
            return _graphed(wanted, there, on_progress, already=True)
        made = _made(wanted, source, work, on_progress)
        _put_in_place(made, target)
        return _graphed(wanted, bundles.read(target), on_progress, already=False)


def _that_was_there(wanted: _Wanted, there: Bundle, on_progress: OnProgress) -> Fetched:
    """Return a model that is on this machine, with a graph: an earlier vmm wrote none."""
    found = Fetched(there, already=True, is_original=True)
    if not _lacks_graph(wanted, there):
        return found
    if not os.access(there.folder, os.W_OK | os.X_OK):  # an administrator's, for everybody
        return replace(found, no_graph=f"{there.folder} cannot be written to")
    with _held(wanted.name):
        there = _there(wanted.name) or there
        return _graphed(wanted, there, on_progress, already=True)


def _lacks_graph(wanted: _Wanted, bundle: Bundle) -> bool:
    """Tell whether a bundle that was fetched has no graph; of others nothing is asked."""
    return bool(bundle.source) and not bundle.graphs and wanted.source.runs_as_graph(wanted.name)


def _graphed(wanted: _Wanted, bundle: Bundle, on_progress: OnProgress, *, already: bool) -> Fetched:
    """Return a model with its graph, or why it has none."""
    is_original = already or bundle.source.get("file") == wanted.file.name
    found = Fetched(bundle, already=already, is_original=is_original)
    if not _lacks_graph(wanted, bundle):
        return found
    on_progress("writing its graph", 0, None)
    try:
        with as_output_error(bundle.folder):
            bundle = wanted.source.with_graphs(bundle)
    except (ModelError, OutputError) as error:
        return replace(found, no_graph=str(error))
    return replace(found, bundle=bundle, graphed=True)


def _refuse_foreign(target: Path) -> None:
    """Raise OutputError where something lies in a model's place that no fetch put there."""
    advice = "move it away, or give another folder with XDG_DATA_HOME"
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_dir():
        raise OutputError(f"{target}: is there and is no model's folder; {advice}")
    others = sorted({entry.name for entry in target.iterdir()} - FETCHED_FILES)
    if others:
        raise OutputError(f"{target}: holds {others[0]!r}, which no fetch put there; {advice}")


def _refuse_made_by_others(target: Path) -> None:
    """Raise OutputError where a model's folder holds files, and no fetch made it.

    A training leaves files of the same names; where its weights came from, a fetched model alone
    says.
    """
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        fetched = bool(bundles.read(target).source)
    except ModelError:
        fetched = False
    if not fetched:
        raise OutputError(
            f"{target}: is there, and its {bundles.BUNDLE_FILE} does not say that it was fetched; "
            "give --force to replace it with all its files, or move it away"
        )


def _wanted(name: str) -> _Wanted:
    """Return what is to be fetched; ModelError, with a near name, where there is nothing."""
    sources = fetchable()
    if name in sources:
        return _Wanted(name, sources[name], sources[name].file_of(name))
    if any(bundle.name == name for bundle in bundles.list_bundles()):
        raise ModelError(
            f"model {name!r} is on this machine and is not one that can be fetched; use it as it "
            "is, or see `vmm models list --fetchable`"
        )
    hint = did_you_mean(name, sources) or "."
    raise ModelError(
        f"no model named {name!r} can be fetched{hint} See `vmm models list --fetchable`"
    )


def _there(name: str) -> Bundle | None:
    """Return the model where it is found, whole."""
    try:
        return bundles.load(name)
    except ModelError:
        return None  # not there, or damaged: then it is fetched again


@contextmanager
def _held(name: str) -> Iterator[Path]:
    """Yield where a model is made, and keep other processes from fetching the same one."""
    work = bundles.user_models() / WORK_FOLDER / name.replace("/", "-")
    with as_output_error(work):
        work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(work))
        except LockedError:
            raise LockedError(f"another vmm is fetching {name!r} now; wait for it to end") from None
        yield work


def _made(wanted: _Wanted, source: str | None, work: Path, on_progress: OnProgress) -> Path:
    """Return a folder in `work` that holds the bundle."""
    for left_behind in (work / "made", work / "before"):  # by a process that was killed
        _remove(left_behind)
    folder = work / "made"
    if source is not None and "://" not in source:
        file = _given_file(source, wanted)
        return _converted(wanted, file, {"file": file.name}, folder, on_progress)
    url = _address(wanted) if source is None else source
    file = _downloaded(wanted, url, work, on_progress)
    try:
        made = _converted(wanted, file, {"file": file.name, "url": url}, folder, on_progress)
    except ModelError:
        file.unlink(missing_ok=True)  # asking again would give the same
        raise
    file.unlink(missing_ok=True)
    return made


def _given_file(source: str, wanted: _Wanted) -> Path:
    file = Path(source)
    if not file.is_file():
        raise ModelError(f"{source}: there is no such file")
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"{source}: cannot be read: {error.strerror}") from None
    if size > wanted.max_bytes:
        raise ModelError(
            f"{source}: has {size_text(size)}; the file of {wanted.name} has "
            f"{wanted.file.size_mib} MiB: it is another file"
        )
    return file


def _address(wanted: _Wanted) -> str:
    """Return where the weights are published, or where the user's mirror has them."""
    url = wanted.file.url
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{_file_name(url)}" if mirror else url


def _file_name(url: str) -> str:
    download.check_url(url)
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    if not _SAFE_NAME.fullmatch(name):
        raise ModelError(f"{url}: does not end with the name of a file")
    return name


def _downloaded(wanted: _Wanted, url: str, work: Path, on_progress: OnProgress) -> Path:
    """Return the file, whole and checked."""
    file = work / _file_name(url)
    # What an earlier call left may be damaged, or belong to another file: then once more.
    for is_last in (False, True) if download.has_begun(file) else (True,):
        if not file.exists():
            try:
                download.download(
                    url,
                    file,
                    on_progress=partial(on_progress, f"downloading {file.name}"),
                    max_bytes=wanted.max_bytes,
                )
            except ModelError as error:
                raise ModelError(f"{error}; {by_hand(wanted.name, wanted.file.url)}") from None
        try:
            _check_digest(file, wanted)
        except ModelError:
            file.unlink()
            if is_last:
                raise
            continue
        break
    return file


def _check_digest(file: Path, wanted: _Wanted) -> str:
    """Return the SHA-256 of a file, hex. ModelError where it is not the one its name carries."""
    carrier, expected = file.name, wanted.source.digest_in(file.name)
    if expected is None:
        carrier, expected = wanted.file.name, wanted.file.digest
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from None
    if not digest.startswith(expected):
        raise ModelError(
            f"{file.name}: refused: its SHA-256 begins with {digest[: len(expected)]} and not "
            f"with {expected}, as the name {carrier} says: it is damaged, or another file"
        )
    return digest


def _converted(
    wanted: _Wanted, file: Path, about: Mapping[str, str], folder: Path, on_progress: OnProgress
) -> Path:
    """Return `folder` with the bundle in it, or nothing half-made."""
    on_progress("checking and converting", 0, None)
    try:
        with as_output_error(folder):
            described = {**about, "sha256": _check_digest(file, wanted)}
            wanted.source.make_bundle(wanted.name, file, described, folder)
    except BaseException:
        _remove(folder)
        raise
    return folder


def _put_in_place(made: Path, target: Path) -> None:
    """Give a whole bundle its name; what had it before goes only then."""
    before = made.with_name("before")
    with as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(made)
        replaces = os.path.lexists(target)
        if replaces:
            target.rename(before)
        try:
            made.rename(target)
        except OSError:
            if replaces:
                before.rename(target)
            raise
        sync_folder(target.parent)
    _remove(before)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
