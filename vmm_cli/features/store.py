"""The feature store: what frozen encoders computed, kept on disk between runs. No torch here.

One file per entry, named by file identity, encoder digest and sampling, in the user's cache folder
($VMM_CACHE_DIR overrides it), readable by the user alone. The least recently used entries go when
the store outgrows its cap ($VMM_CACHE_LIMIT_GB, default 10). A store that cannot be written, or an
entry that is damaged, costs time and never a result.

An entry says what it holds: see `entry_file`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from vmm_cli.errors import UsageError
from vmm_cli.features.entry_file import DamagedEntryError, entry_bytes, read_about, read_entry
from vmm_cli.features.values import Features, Sets
from vmm_cli.identity import READING_REVISION, FileIdentity
from vmm_cli.media import damage

if TYPE_CHECKING:
    from vmm_cli.bundles import Json
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.media.video import Video

DEFAULT_LIMIT_GB = 10.0
ENTRY_SUFFIX = ".safetensors"
# Looking through the store costs a stat per entry, so it is done once a process and then after
# each such part of the cap that was written.
CHECK_EACH_PART_OF_CAP = 0.01
# Making room for more than one entry at a time keeps the checks rare in a full store.
FILL_AFTER_EVICTION = 0.9
# A temporary file this old was left by a run that was killed.
STALE_TEMPORARY_S = 3600

_log = logging.getLogger(__name__)
_written_since_check: int | None = None  # bytes; None: this process did not check yet

V = TypeVar("V", Features, Sets)
N = TypeVar("N", bound=Hashable)


@dataclass(frozen=True)
class Key:
    """What an entry is of: two are equal where they name the same entry.

    Attributes:
        identity: of the file.
        digest: of the encoder, which stands for its name and settings too; hex, or a text that
            names what is kept of an expert of sentiment.
        sampling: what is wanted of the file.
        encoder, settings: for those who look into the store.
    """

    identity: FileIdentity
    digest: str
    sampling: Sampling
    encoder: str = field(default="", compare=False)
    settings: Mapping[str, Json] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The entry's name: SHA-256, hex. Not dependent on the file's path."""
        plan = list(_plan(self.sampling).values())
        whole = [READING_REVISION, self.identity.to_dict(), self.digest, plan]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def about(self) -> dict[str, Any]:
        """Return what an entry says of where it is from, as JSON types."""
        return {
            "encoder": {
                "name": self.encoder,
                "digest": self.digest,
                "settings": dict(self.settings),
            },
            "identity": self.identity.to_dict(),
            "sampling": _plan(self.sampling),
            "reading": READING_REVISION,
        }


@dataclass(frozen=True)
class Entry(Generic[V]):
    """What the store keeps of one stream of one video.

    Attributes:
        features: the encoder's output: `Features` or `Sets`.
        end_s: where the video ends, in seconds on its clock; None where that is unknown.
    """

    features: V
    end_s: float | None


@dataclass(frozen=True)
class StoreInfo:
    """How full the store is."""

    folder: Path
    entries: int
    size_bytes: int
    limit_bytes: int


@dataclass(frozen=True)
class Held:
    """How much the store holds of an encoder.

    Attributes:
        encoder: its name; "" where entries do not say.
        kind: `features` or `sets`; "" where entries do not say.
    """

    encoder: str
    kind: str
    entries: int
    size_bytes: int


def key(
    identity: FileIdentity,
    encoder_digest: str,
    sampling: Sampling,
    *,
    encoder: str = "",
    settings: Mapping[str, Json] | None = None,
) -> Key:
    """Return what names an entry; `encoder` and `settings`: what it is to say of itself."""
    return Key(identity, encoder_digest, sampling, encoder, settings or {})


def folder() -> Path:
    """Return where the store lies; it need not exist."""
    override = os.environ.get("VMM_CACHE_DIR")
    if override:
        return Path(override) / "features"
    import platformdirs

    return Path(platformdirs.user_cache_dir("vmm")) / "features"


def limit_bytes() -> int:
    """Return the cap in bytes. UsageError where $VMM_CACHE_LIMIT_GB is no number from 0."""
    text = os.environ.get("VMM_CACHE_LIMIT_GB") or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
        if not 0 <= limit < 1e9:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"VMM_CACHE_LIMIT_GB is {text!r}, which is no number of gigabytes"
        ) from None
    return int(limit * 1e9)


def contains(entry_key: Key) -> bool:
    """Tell whether there is an entry, which may prove to be damaged when it is loaded."""
    return _path(entry_key).is_file()


@overload
def load(entry_key: Key) -> Entry[Features] | None: ...
@overload
def load(entry_key: Key, kind: type[V]) -> Entry[V] | None: ...
def load(entry_key: Key, kind: Any = Features) -> Any:
    """Return an entry and mark it as used; None where it is absent or damaged (then it goes).

    One of another kind than `kind` is absent, too.
    """
    path = _path(entry_key)
    try:
        features, end_s = read_entry(path)
        os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.info("the feature store cannot be read: %s", error)
        return None
    except DamagedEntryError as error:
        _log.info("removed a damaged entry of the feature store: %s: %s", path, error)
        _remove(path)
        return None
    return Entry(features, end_s) if isinstance(features, kind) else None


def save(entry_key: Key, entry: Entry[Features] | Entry[Sets]) -> None:
    """Keep an entry, whole or not at all; where the folder cannot be written, nothing is kept."""
    data = entry_bytes(entry.features, entry.end_s, entry_key.about())
    limit = limit_bytes()
    if len(data) > limit:
        return
    path = _path(entry_key)
    try:
        _make_private(folder())
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write_whole(path, data)
    except OSError as error:
        _log.info("the feature store cannot be written: %s", error)
        return
    _keep_below(limit, len(data))


@overload
def cached(
    video: Video,
    keys: Mapping[N, Key | None],
    compute: Callable[[Sequence[N]], Mapping[N, Entry[Features]]],
) -> dict[N, Entry[Features]]: ...
@overload
def cached(
    video: Video,
    keys: Mapping[N, Key | None],
    compute: Callable[[Sequence[N]], Mapping[N, Entry[V]]],
    kind: type[V],
) -> dict[N, Entry[V]]: ...
def cached(
    video: Video,
    keys: Mapping[N, Key | None],
    compute: Callable[[Sequence[N]], Mapping[N, Any]],
    kind: Any = Features,
) -> dict[N, Any]:
    """Return what the store holds of a file, and compute and keep the rest.

    Args:
        video: the file.
        keys: what is wanted, by names of the caller's; None: the store may not hold it.
        compute: gives the entries of the names that it is called with, and perhaps more of `keys`;
            what it leaves out is not there. It is not called where nothing is lacking.
        kind: of the entries.

    Raises:
        InputError: the file cannot be read, or what `compute` raises.
    """
    loaded = {name: load(k, kind) for name, k in keys.items() if k is not None}
    found = {name: entry for name, entry in loaded.items() if entry is not None}
    lacking = [name for name in keys if name not in found]
    if not lacking:
        return found
    computed = compute(lacking)
    keep(video, {k: computed[n] for n, k in keys.items() if k is not None and n in computed})
    return {**found, **computed}


def keep(video: Video, entries: Mapping[Key, Entry[V]]) -> None:
    """Save entries of a file, unless it has changed since its identity was first asked for.

    Nor where pictures of it could not be decoded: with what is kept nobody would be told.

    Raises:
        InputError: the file cannot be read any more.
    """
    if entries and not damage.is_noted(video.path) and video.is_unchanged():
        for entry_key, entry in entries.items():
            if entry_key.identity == video.identity:
                save(entry_key, entry)


def info() -> StoreInfo:
    """Return how full the store is."""
    sizes = [size for _, size, _ in _entries(folder())]
    return StoreInfo(folder(), len(sizes), sum(sizes), limit_bytes())


def holds() -> list[Held]:
    """Return how much there is of each encoder, the most first; each entry's header is read."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for path, size, _ in _entries(folder()):
        about = read_about(path)
        encoder = about.get("encoder")
        name = encoder.get("name") if isinstance(encoder, dict) else None
        kind = about.get("kind")
        what = (str(name or ""), str(kind or ""))
        entries, size_bytes = found.get(what, (0, 0))
        found[what] = entries + 1, size_bytes + size
    held = [Held(*what, *many) for what, many in found.items()]
    return sorted(held, key=lambda one: (-one.size_bytes, one.encoder, one.kind))


def clear() -> StoreInfo:
    """Remove every entry; return what was there. OSError where that is not possible.

    Only what the store itself wrote is removed.
    """
    before = info()
    for path, _, _ in _entries(before.folder):
        path.unlink(missing_ok=True)
    for temporary in before.folder.glob("??/.*.tmp"):
        temporary.unlink(missing_ok=True)
    return before


def _plan(sampling: Sampling) -> dict[str, Any]:
    """Return what a sampling wants, as JSON types: exact fractions as text."""
    return {
        "kind": sampling.kind,
        "start": str(sampling.start),
        "end": None if sampling.end is None else str(sampling.end),
        "step_s": None if sampling.step_s is None else str(sampling.step_s),
        "n": sampling.n,
        "offsets_s": [str(offset) for offset in sampling.offsets_s],
    }


def _path(entry_key: Key) -> Path:
    name = entry_key.name
    return folder() / name[:2] / f"{name}{ENTRY_SUFFIX}"


def _make_private(store: Path) -> None:
    store.mkdir(parents=True, mode=0o700, exist_ok=True)
    if store.stat().st_mode & 0o077:
        store.chmod(0o700)


def _write_whole(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem[:16]}.", suffix=".tmp"
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # Not fsynced: an entry lost or torn by a power cut is recognised and computed again.
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _entries(store: Path) -> Iterator[tuple[Path, int, float]]:
    """Yield path, size in bytes and time of last use of each entry."""
    for path in store.glob(f"??/*{ENTRY_SUFFIX}"):
        try:
            status = path.lstat()
        except OSError:  # another run removed it
            continue
        yield path, status.st_size, status.st_mtime


def _keep_below(limit: int, written: int) -> None:
    """Remove the least recently used entries once the store is larger than `limit` bytes."""
    global _written_since_check
    if _written_since_check is not None:
        _written_since_check += written
        if _written_since_check < limit * CHECK_EACH_PART_OF_CAP:
            return
    _written_since_check = 0
    entries = sorted(_entries(folder()), key=lambda entry: entry[2])
    size = sum(entry_size for _, entry_size, _ in entries)
    if size <= limit:
        return
    for path, entry_size, _ in entries:
        if size <= limit * FILL_AFTER_EVICTION:
            break
        _remove(path)
        size -= entry_size
    _remove_stale_temporaries()


def _remove_stale_temporaries() -> None:
    import time

    for temporary in folder().glob("??/.*.tmp"):
        try:
            if time.time() - temporary.lstat().st_mtime > STALE_TEMPORARY_S:
                temporary.unlink(missing_ok=True)
        except OSError:
            continue


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        _log.info("%s cannot be removed: %s", path, error)
