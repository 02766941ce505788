"""The feature store: what frozen encoders computed, kept on disk between runs. No torch here.

One file per entry, named by file identity, encoder digest and sampling, in the user's cache folder
($VMM_CACHE_DIR overrides it), readable by the user alone. The least recently used entries go when
the store outgrows its cap ($VMM_CACHE_LIMIT_GB, default 10). A store that cannot be written, or an
entry that is damaged, costs time and never a result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli.encoders.features import Features
from vmm_cli.errors import UsageError
from vmm_cli.identity import READING_REVISION

if TYPE_CHECKING:
    from vmm_cli.identity import FileIdentity
    from vmm_cli.media.sampling import Sampling

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


@dataclass(frozen=True)
class Entry:
    """What the store keeps of one stream of one video.

    Attributes:
        features: the encoder's output.
        end_s: where the video ends, in seconds on its clock; None where that is unknown.
    """

    features: Features
    end_s: float | None


@dataclass(frozen=True)
class StoreInfo:
    """How full the store is."""

    folder: Path
    entries: int
    size_bytes: int
    limit_bytes: int


def key(identity: FileIdentity, encoder_digest: str, sampling: Sampling) -> str:
    """Return the name of an entry: SHA-256, hex. Not dependent on the file's path."""
    plan = [
        sampling.kind,
        str(sampling.start),
        None if sampling.end is None else str(sampling.end),
        None if sampling.step_s is None else str(sampling.step_s),
        sampling.n,
        [str(offset) for offset in sampling.offsets_s],
    ]
    whole = [READING_REVISION, identity.to_dict(), encoder_digest, plan]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


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


def contains(entry_key: str) -> bool:
    """Tell whether there is an entry, which may prove to be damaged when it is loaded."""
    return _path(entry_key).is_file()


def load(entry_key: str) -> Entry | None:
    """Return an entry and mark it as used; None where it is absent or damaged (then it goes)."""
    path = _path(entry_key)
    try:
        entry = _read(path)
        os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.info("the feature store cannot be read: %s", error)
        return None
    except _DamagedEntryError as error:
        _log.info("removed a damaged entry of the feature store: %s: %s", path, error)
        _remove(path)
        return None
    return entry


def save(entry_key: str, entry: Entry) -> None:
    """Keep an entry, whole or not at all; where the folder cannot be written, nothing is kept."""
    from safetensors.numpy import save as safetensors_bytes

    features = entry.features
    tensors = {
        "times": np.ascontiguousarray(features.times),
        "values": np.ascontiguousarray(features.values),
    }
    metadata = {"content": _content_digest(features), "end_s": json.dumps(entry.end_s)}
    data = safetensors_bytes(tensors, metadata=metadata)
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


def info() -> StoreInfo:
    """Return how full the store is."""
    sizes = [size for _, size, _ in _entries(folder())]
    return StoreInfo(folder(), len(sizes), sum(sizes), limit_bytes())


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


class _DamagedEntryError(Exception):
    """An entry's bytes are not what was written."""


def _path(entry_key: str) -> Path:
    return folder() / entry_key[:2] / f"{entry_key}{ENTRY_SUFFIX}"


def _read(path: Path) -> Entry:
    from safetensors import SafetensorError, safe_open

    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise _DamagedEntryError("is no regular file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            features = Features(file.get_tensor("times"), file.get_tensor("values"))
        end_s = json.loads(metadata["end_s"])
        if metadata["content"] != _content_digest(features):
            raise _DamagedEntryError("its digest is another")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _DamagedEntryError(str(error)) from None
    return Entry(features, None if end_s is None else float(end_s))


def _content_digest(features: Features) -> str:
    digest = hashlib.sha256()
    for array in (features.times, features.values):
        digest.update(f"{array.dtype.str}{list(array.shape)}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


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
