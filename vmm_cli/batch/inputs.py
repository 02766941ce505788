"""Which files a run works on, and what each of them is called in records and on disk."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vmm_cli.batch.absent import what_is_there
from vmm_cli.batch.listing import IsKind, Looked, look_at
from vmm_cli.errors import NoInputError, UsageError
from vmm_cli.media.extensions import (
    AMBIGUOUS_EXTENSIONS,
    OTHER_EXTENSIONS,
    SOUND_EXTENSIONS,
    STILL_EXTENSIONS,
    VIDEO_EXTENSIONS,
)

SNIFF_BYTES = 4096  # reaches past four MPEG-TS packets and an Ogg file's first header pages

_ASF_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MXF_PARTITION = bytes.fromhex("060e2b34020501010d010201")  # SMPTE ST 377-1, partition pack key
_OGG_VIDEO_HEADERS = (b"\x80theora", b"OVP80", b"BBCD\0", b"\x01video\0\0\0", b"\x80daala")
# fmt: off
_NOT_VIDEO_BRANDS = frozenset({
    b"M4A ", b"M4B ", b"M4P ",  # sound
    b"avif", b"avis", b"crx ", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevx", b"mif1",
    b"msf1",  # stills
})
# fmt: on
_QUICKTIME_FIRST_BOXES = (b"moov", b"mdat", b"wide")  # files older than the ftyp box
_TS_SYNC = 0x47
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # (packet length, offset of the sync byte), bytes

_UTF_8_MARK = b"\xef\xbb\xbf"
# What Windows' shells write; UTF-32 first, since its mark begins with that of UTF-16.
_WIDE_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Input:
    """One file to work on.

    Attributes:
        path: where it is.
        name: what records call it: the path as given, or the given folder joined with the path
            inside it.
        output_name: what output files and folders are called after: the path inside the given
            folder, or the file's own name.
    """

    path: Path
    name: str
    output_name: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found.

    Attributes:
        inputs: the files, in the order of the arguments, a folder's files sorted by path.
        missing: the arguments where there is nothing, as given.
        unreadable: the folders that may not be listed, by name.
        silent: what did not answer, by name; what follows it in its folder was not found.
        order: the names of all of these, in the order of the arguments.
        any_folder: whether an argument is a folder.
        is_output: the name of an input that is the file the results go to.
        passed_over: how many files in folders are of a later kind than the inputs there.
    """

    inputs: tuple[Input, ...]
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    any_folder: bool = False
    is_output: str | None = None
    passed_over: int = 0


def discover(
    arguments: Sequence[str],
    *,
    files_from: str | None = None,
    nul: bool = False,
    output: Path | None = None,
    kinds: Sequence[IsKind] | None = None,
) -> Discovery:
    """Find the inputs that the arguments, and the list in `files_from`, stand for.

    A file is always an input, also where it is none vmm can read: it becomes a failed record. A
    folder is searched recursively for files that look like video, by extension or first bytes;
    what is hidden is left out, and so is what is no regular file. Links are followed; each real
    folder and each real file counts once. See `as_on_disk` for names with accents.

    Args:
        arguments: paths of files and folders.
        files_from: a file that lists more of them, or `-` for standard input.
        nul: the list's entries end with NUL instead of a newline.
        output: where the results go, if that is a file.
        kinds: what is looked for in a folder: what the second one knows only where it holds none
            that the first one knows; None: video.

    Raises:
        UsageError: the list cannot be read, or holds NUL where `nul` is not set.
    """
    given = list(arguments)
    if files_from is not None:
        given += read_list(files_from, nul=nul)
    try:
        status = None if output is None else output.stat()
    except (OSError, ValueError):  # not there yet
        status = None
    return _found(look_at(given, kinds or (looks_like_video,), status))


def _found(looked_at: Iterable[Looked]) -> Discovery:
    inputs: list[Input] = []
    order: list[str] = []
    missing: dict[str, None] = {}
    unreadable: dict[str, None] = {}
    silent: list[str] = []
    any_folder = False
    is_output = None
    passed_over = 0
    for looked in looked_at:
        passed_over += looked.passed_over
        found = list(_inputs(looked))
        inputs += found
        told = [name for name in looked.closed if name not in unreadable]
        unreadable |= dict.fromkeys(told)
        if looked.kind == "missing" and looked.argument not in missing:
            missing[looked.argument] = None
            told.append(looked.argument)
        silent += looked.silent
        order += (*(item.name for item in found), *told, *looked.silent)
        any_folder |= looked.kind == "folder"
        for name, item in zip(looked.found, found, strict=True):
            if name == looked.is_output:
                is_output = item.name
    return Discovery(
        tuple(inputs),
        tuple(missing),
        tuple(unreadable),
        tuple(silent),
        tuple(order),
        any_folder,
        is_output,
        passed_over,
    )


def _inputs(looked: Looked) -> Iterator[Input]:
    if looked.kind == "file":
        for name in looked.found:
            yield Input(Path(looked.place), name, os.path.basename(name))  # noqa: PTH119 - Path drops what the user typed
    for relative in looked.found if looked.kind == "folder" else ():
        name = os.path.join(looked.argument, relative)  # noqa: PTH118 - keeps the name as given
        yield Input(Path(looked.place, relative), name, relative)


def require_inputs(discovery: Discovery, arguments: Sequence[str]) -> None:
    """Raise NoInputError where nothing was found, not even something to report as failed."""
    if discovery.order:
        return
    where = ", ".join(_shown(argument) for argument in arguments) or "the list"
    held = what_is_there(arguments)
    advice = f": {held}" if held else "; name files or folders that hold some"
    raise NoInputError(f"no video found in {where}{advice}")


def read_list(source: str, *, nul: bool = False, stdin: BinaryIO | None = None) -> list[str]:
    """Return the paths that a list file, or standard input for `-`, names.

    Empty entries are left out. Lists in UTF-16, and byte order marks, are understood. Else bytes
    that are no UTF-8 come through as `os.fsdecode` gives them. A mark at the beginning, and a
    carriage return at a line's end, belong to no path unless a path with it exists.

    Raises:
        UsageError: the list cannot be read, or holds NUL where `nul` is not set.
    """
    try:
        if source == "-":
            if stdin is None and sys.stdin is None:
                raise UsageError("standard input is closed; --files-from - reads the list from it")
            content = (stdin or sys.stdin.buffer).read()
        else:
            content = Path(source).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"the list {_shown(source)} cannot be read: {reason}") from None
    separator = b"\0" if nul else b"\n"
    if (text := _wide_text(content, nul=nul)) is not None:
        entries = text.split(separator.decode())
    elif not nul and b"\0" in content:
        raise UsageError(f"the list {_shown(source)} holds NUL bytes; read it with -0")
    else:
        first, *others = content.split(separator)
        if first.startswith(_UTF_8_MARK) and not os.path.lexists(first):
            first = first.removeprefix(_UTF_8_MARK)
        entries = [os.fsdecode(entry) for entry in (first, *others)]
    if not nul:
        entries = [_without_carriage_return(entry) for entry in entries]
    return [entry for entry in entries if entry]


def _wide_text(content: bytes, *, nul: bool) -> str | None:
    """Return the text of a list in UTF-16 or UTF-32; None for one whose bytes are names.

    Without a mark, one in UTF-16 has NUL in every other place only: beside the ends of its lines,
    or beside most characters where it has a single line.
    """
    for mark, encoding in _WIDE_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors="replace")
    if nul or len(content) % 2 or b"\0" not in content:
        return None
    for encoding, low, high in (
        ("utf-16-le", content[::2], content[1::2]),
        ("utf-16-be", content[1::2], content[::2]),
    ):
        ends = [i for i, byte in enumerate(low) if byte == 0x0A]
        is_wide = any(high[i] == 0 for i in ends) if ends else 2 * high.count(0) > len(high)
        if 0 not in low and is_wide:
            return content.decode(encoding, errors="replace")
    return None


def refuse_collisions(inputs: Iterable[Input]) -> None:
    """Raise UsageError where two inputs would write to one name, naming both.

    Names are compared as a file system that ignores case and Unicode's composed forms would; a
    name that lies inside another one counts as well.
    """
    owners: dict[str, Input] = {}
    for item in inputs:
        key = _folded(item.output_name)
        if key in owners:
            raise _collision(owners[key], item, "both would write to")
        owners[key] = item
    for key, item in owners.items():
        for parent in PurePosixPath(key).parents:
            if (outer := owners.get(str(parent))) is not None:
                raise _collision(outer, item, "the second would write into the first's")


def looks_like_video(path: Path) -> bool:
    """Tell whether a regular file is worth trying, by its extension or its first bytes."""
    extension = path.suffix.lower()
    if extension in VIDEO_EXTENSIONS:
        return True
    if extension in OTHER_EXTENSIONS:
        return False
    head = _head(path)
    if extension in AMBIGUOUS_EXTENSIONS and not _reads_as_text(head):
        return True
    return is_video_signature(head)


def looks_like_sound(path: Path) -> bool:
    """Tell whether a regular file seems to hold sound and no pictures that move."""
    return path.suffix.lower() in SOUND_EXTENSIONS and not looks_like_video(path)


def looks_like_still(path: Path) -> bool:
    """Tell whether a regular file seems to be a picture that does not move."""
    return path.suffix.lower() in STILL_EXTENSIONS and not looks_like_video(path)


def is_video_signature(head: bytes) -> bool:
    """Tell whether a file's first bytes are those of a container for moving pictures."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _NOT_VIDEO_BRANDS
    if head[:4] == b"OggS":
        return any(header in head for header in _OGG_VIDEO_HEADERS)
    return (
        head[4:8] in _QUICKTIME_FIRST_BOXES
        or head[:4] == b"\x1aE\xdf\xa3"  # EBML: Matroska and WebM
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head[:4] == b"FLV\x01"
        or head[:6] in (b"GIF87a", b"GIF89a")
        or _is_animated_png(head)
        or head[:4] in (b"\0\0\x01\xba", b"\0\0\x01\xb3")  # MPEG program stream, MPEG-1/2 video
        or head[:16] == _ASF_GUID
        or head[:12] == _MXF_PARTITION
        or any(_is_transport_stream(head, length, offset) for length, offset in _TS_PACKETS)
    )


def _is_animated_png(head: bytes) -> bool:
    """Tell a PNG that moves from a still one: a chunk before the picture's data says so."""
    return head[:8] == _PNG_SIGNATURE and b"acTL" in head.partition(b"IDAT")[0]


def _is_transport_stream(head: bytes, length: int, offset: int) -> bool:
    syncs = head[offset::length]
    return len(syncs) >= 4 and syncs[:4] == bytes([_TS_SYNC]) * 4


def _head(path: Path) -> bytes:
    """Return a file's first bytes; none where it cannot be read."""
    try:
        # O_NONBLOCK: should a FIFO have taken the file's place meanwhile, it must not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(descriptor, SNIFF_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _reads_as_text(head: bytes) -> bool:
    return not any(byte < 0x20 and byte not in b"\t\n\r\f" for byte in head)


def _without_carriage_return(entry: str) -> str:
    if entry.endswith("\r") and not os.path.lexists(entry):
        return entry[:-1]
    return entry


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _collision(first: Input, second: Input, what: str) -> UsageError:
    return UsageError(
        f"{_shown(first.name)} and {_shown(second.name)}: {what} {_shown(first.output_name)} "
        "in the output; run them one by one, with an output each"
    )


def _shown(name: str) -> str:
    """Return a name fit for one line of a terminal."""
    return name if name.isprintable() else ascii(name)
