"""Which files of captions beside a video are its own, by their names."""

from __future__ import annotations

import os
import time
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from vmm_cli.media.extensions import AMBIGUOUS_EXTENSIONS, OTHER_EXTENSIONS, VIDEO_EXTENSIONS
from vmm_cli.media.languages import language_tag

SIDECAR_FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass", ".ssa": "ssa"}
MEDIA_EXTENSIONS = VIDEO_EXTENSIONS | AMBIGUOUS_EXTENSIONS | OTHER_EXTENSIONS

# clip.en.forced.srt: what players and downloaders add to the name, beside a language
# fmt: off
_REMARKS = frozenset({
    "asr", "auto", "captions", "cc", "commentary", "default", "forced", "foreign", "full", "hi",
    "orig", "original", "sdh", "sub", "subs", "subtitle", "subtitles", "transcript",
})
# fmt: on

_ASIDE = frozenset({"commentary", "forced", "foreign"})

# Folders whose listings are kept. A run goes through folders one after the other.
MAX_LISTINGS = 8
# A listing is trusted as long as its folder's modification time stays the same. That time moves in
# ticks, of 10 ms at most in Linux, or of whole seconds (two, in FAT): what appears in the same tick
# as a listing does not show in it.
TICK_NS = 100 * 10**6
COARSE_TICK_NS = 2 * 10**9
# Some file systems do not tell when a folder changes.
MAX_AGE_S = 60.0


def sidecar_files(path: Path) -> list[tuple[Path, str | None]]:
    """Return the files of captions that belong to a video by their names, each with its language.

    `clip.srt`, `clip.en.vtt` and `clip.mkv.ass` belong to `clip.mkv`, where no other medium has
    more of that name: `clip.2.srt` belongs to `clip.2.mkv` where that exists. A folder is listed
    once, and again only when it has changed.
    """
    return [(file, language) for file, (belongs, language) in _beside(path) if belongs]


def unclaimed_files(path: Path) -> list[Path]:
    """Return the files of captions beside a video that may be its own, though nothing says so.

    They are called like it, and then like no language and like no other medium: `clip.new.srt`.
    """
    return [file for file, (belongs, _) in _beside(path) if not belongs]


def is_aside(file: Path, video: Path) -> bool:
    """Tell whether a file of a video's captions says that it is not for all that is said there."""
    named, own = (set(_folded(path.stem).lower().split(".")) for path in (file, video))
    return bool((named - own) & _ASIDE)


def _beside(path: Path) -> list[tuple[Path, tuple[bool, str | None]]]:
    try:
        listing = _listing(path.parent)
    except OSError:
        return []
    named = listing.beginning_with({_folded(path.name), _folded(path.stem)})
    return [(path.parent / name, _meaning(rest)) for name, rest in sorted(named.items())]


def _meaning(rest: str) -> tuple[bool, str | None]:
    """Tell whether what a name has beside the video's is known, and which language it says."""
    language = None
    for number, part in enumerate(rest.split(".") if rest else ()):
        if number == 0 and f".{part.lower()}" in MEDIA_EXTENSIONS:
            continue  # of a file that the video was made from
        if part.lower() in _REMARKS or (part.isdecimal() and len(part) <= 2):
            continue
        named = language_tag(part, _REMARKS)
        if named is None or language is not None:
            return False, None
        language = named
    return True, language


@dataclass(frozen=True)
class _Listing:
    """The captions in a folder, and the media that have names like them.

    Attributes:
        modified_ns: when the folder was last changed, as it says.
        listed_at_s: on the monotonic clock.
        settled: what appears from now on has a later time than `modified_ns`.
        names: of the files of captions, sorted by `_folded` stem, which comes first.
        media: what the names of media begin with, folded: with their extensions and without.
    """

    modified_ns: int
    listed_at_s: float
    settled: bool
    names: tuple[tuple[str, str], ...]
    media: frozenset[str]

    def beginning_with(self, keys: set[str]) -> dict[str, str]:
        """Return the names that belong to the medium called `keys`, and what they say beside it."""
        found: dict[str, str] = {}
        for key in sorted(keys, key=len):  # of the longer one less is left to be explained
            for begin in (key, f"{key}."):
                place = bisect_left(self.names, (begin,))
                while place < len(self.names):
                    stem, name = self.names[place]
                    if stem != key and not stem.startswith(f"{key}."):
                        break
                    if not self._has_nearer(stem, keys):
                        found[name] = stem[len(key) + 1 :]
                    place += 1
        return found

    def _has_nearer(self, stem: str, keys: set[str]) -> bool:
        """Tell whether another medium than that called `keys` has more of a name."""
        names = _beginnings(stem)
        own = max(len(name) for name in names if name in keys)
        return any(name in self.media for name in names if len(name) > own)


def _beginnings(stem: str) -> list[str]:
    """Return what media are called to which captions of this name can belong."""
    return [stem, *(stem[:i] for i, character in enumerate(stem) if character == ".")]


_listings: dict[Path, _Listing] = {}


def _listing(folder: Path) -> _Listing:
    """Return what is in a folder, listed anew where that may have changed. Raises OSError."""
    known = _listings.pop(folder, None)
    modified_ns = folder.stat().st_mtime_ns
    now_s = time.monotonic()
    if (
        known is None
        or known.modified_ns != modified_ns
        or not known.settled
        or now_s - known.listed_at_s > MAX_AGE_S
    ):
        known = _listed(folder, modified_ns, now_s)
    _listings[folder] = known  # the last in line is the first to be kept
    while len(_listings) > MAX_LISTINGS:
        del _listings[next(iter(_listings))]
    return known


def _listed(folder: Path, modified_ns: int, now_s: float) -> _Listing:
    # A time without a fraction of a second is one of a file system that keeps none.
    tick_ns = TICK_NS if modified_ns % 10**9 else COARSE_TICK_NS
    settled = not 0 <= time.time_ns() - modified_ns <= tick_ns
    names = os.listdir(folder)  # noqa: PTH208 - a Path for each of a hundred thousand names is slow
    stems = []
    media: set[str] = set()
    for name in names:
        stem, extension = os.path.splitext(name)  # noqa: PTH122
        extension = extension.lower()
        if extension in SIDECAR_FORMATS:
            stems.append((_folded(stem), name))
        elif extension in MEDIA_EXTENSIONS:
            media.update((_folded(stem), _folded(name)))
    near = media.intersection(b for stem, _ in stems for b in _beginnings(stem))
    return _Listing(modified_ns, now_s, settled, tuple(sorted(stems)), frozenset(near))


def _folded(name: str) -> str:
    """Return a name in one form: macOS and Linux write accents in different ones."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
