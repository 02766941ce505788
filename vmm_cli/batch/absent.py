"""What to say of inputs that are not there, and of folders that hold no video."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from vmm_cli.media.extensions import SOUND_EXTENSIONS

MISSING = "no such file or folder"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MOST_LOOKED_AT = 100_000  # files; more would make an error message slow

# fmt: off
_PICTURES = frozenset({
    ".avif", ".bmp", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
})
# fmt: on
_HELD = {
    "sound": (
        "sound file",
        "`vmm classify`, `vmm transcribe` and `vmm sentiment` take sound",
    ),
    "picture": (
        "picture",
        "`vmm classify` and `vmm detect-objects` take folders of JPEG, PNG and WebP",
    ),
}


def why_missing(name: str) -> str:
    """Return why an input leads nowhere, and what to do about it.

    >>> why_missing("")
    'its name is empty'
    """
    if not name:
        return "its name is empty"
    if name == "-":
        return f"{MISSING}; --files-from - reads names from standard input"
    if not _URL.match(name):
        return MISSING
    if name.lower().startswith("file://"):
        return f"vmm reads paths, not addresses; give {unquote(urlsplit(name).path) or 'a path'}"
    return "vmm reads local files; download it first, with curl, yt-dlp or ffmpeg"


def what_is_there(arguments: Iterable[str]) -> str:
    """Return what folders without a video hold in its place, and what to do; "" for nothing."""
    found = Counter(kind for argument in arguments for kind in _kinds(argument))
    if not found:
        return ""
    kind, number = found.most_common(1)[0]
    what, advice = _HELD[kind]
    return f"it holds {number} {what}{'' if number == 1 else 's'}; {advice}"


def _kinds(folder: str) -> Iterable[str]:
    number = 0
    for _, _, names in os.walk(folder):
        for name in names:
            number += 1
            if number > _MOST_LOOKED_AT:
                return
            extension = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of a name alone
            if extension in SOUND_EXTENSIONS:
                yield "sound"
            elif extension in _PICTURES:
                yield "picture"
