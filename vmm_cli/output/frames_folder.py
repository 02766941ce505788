"""A folder of frames per video: pictures, `frames.jsonl`, and perhaps a contact sheet.

Everything is made in a hidden folder under the output, and takes its final place only when whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vmm_cli.durable import sync_file_system
from vmm_cli.errors import InputError

# Only the workers load a decoder.
if TYPE_CHECKING:
    from vmm_cli.media.frames import Picture
    from vmm_cli.media.stills import ImageFormat, StillEncoder

INDEX_NAME = "frames.jsonl"
SHEET_NAME = "contact_sheet.jpg"
INDEX_FIELDS = frozenset({"file", "time_s", "pts", "keyframe", "width", "height"})
WORK_NAME = ".vmm.work"  # what is not finished; removed at the end of a run

_OURS = re.compile(
    rf"frame_\d{{6,}}_t-?\d+\.\d{{3}}\.(jpg|png|webp)|{re.escape(INDEX_NAME)}|{re.escape(SHEET_NAME)}",
    re.ASCII,
)


def is_whole(folder: Path, *, with_sheet: bool) -> bool:
    """Tell whether all that an earlier run wrote is still there."""
    try:
        names = {entry.name for entry in folder.iterdir()}
        whole = all(line["file"] in names for line in _read_index(folder / INDEX_NAME))
    except (OSError, ValueError, KeyError):
        return False
    return whole and (SHEET_NAME in names or not with_sheet)


def remove_unfinished(output: Path) -> None:
    """Remove what unfinished work has left."""
    shutil.rmtree(output / WORK_NAME, ignore_errors=True)


def part_folder(output: Path, name: str, index: int) -> Path:
    """Return where the pictures of a part go until the input of that name is done."""
    # A digest: the input's own name may leave no room for a suffix.
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:24]
    return output / WORK_NAME / f"{digest}.{index}"


def write_part(folder: Path, pictures: Iterable[Picture], encoder: StillEncoder) -> Iterator[int]:
    """Write a part's pictures and their index into its folder; yield the number of each.

    Raises:
        InputError: as `pictures`, or one cannot be written.
    """
    with _writing(folder):
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
        folder.mkdir(parents=True)
    with _writing(folder), _index_file(folder / INDEX_NAME) as index:
        for number, picture in enumerate(pictures, start=1):
            name = f"{number:06d}.{encoder.image_format}"
            (folder / name).write_bytes(encoder.encode(picture))
            index.write(_index_line(name, picture))
            yield number


def assemble(
    parts: list[Path], target: Path, image_format: ImageFormat, *, with_sheet: bool, overwrite: bool
) -> int:
    """Make a video's folder of those of its parts, at least one; return how many pictures it has.

    Raises:
        InputError: it cannot be written, or something else stands there.
    """
    made = parts[0]
    with _writing(target):
        n = _join(parts, image_format)
        if with_sheet:
            from vmm_cli.output.contact_sheet import MAX_CELLS, draw_contact_sheet, evenly

            shown = _index_lines(made / INDEX_NAME, set(evenly(n, MAX_CELLS)))
            draw_contact_sheet(made, shown, made / SHEET_NAME)
        # One flush of the file system, so that a record that says ok outlives a power cut: an fsync
        # for each of thousands of pictures would take as long as decoding them.
        sync_file_system(made)
        _put_in_place(made, target, overwrite=overwrite)
    return n


def _join(folders: list[Path], image_format: ImageFormat) -> int:
    """Move the pictures of all parts into the first part's folder; return how many there are.

    One that is shown on both sides of a cut counts once.
    """
    made = folders[0]
    joined = made / f"{INDEX_NAME}.joined"
    number = 0
    last_pts = None
    with _index_file(joined) as index:
        for folder in folders:
            first = True
            for line in _read_index(folder / INDEX_NAME):
                repeated = first and last_pts is not None and last_pts >= line["pts"]
                first = False
                if repeated:
                    (folder / line["file"]).unlink()
                    continue
                number += 1
                last_pts = line["pts"]
                name = f"frame_{number:06d}_t{line['time_s']:09.3f}.{image_format}"
                (folder / line["file"]).rename(made / name)
                index.write(json.dumps(line | {"file": name}) + "\n")
    joined.rename(made / INDEX_NAME)
    return number


def _index_file(path: Path) -> TextIO:
    return path.open("w", encoding="ascii", newline="\n")


def _index_line(name: str, picture: Picture) -> str:
    line = {
        "file": name,
        "time_s": round(picture.time_s, 6),
        "pts": picture.pts,
        "keyframe": picture.keyframe,
        "width": picture.geometry.width,
        "height": picture.geometry.height,
    }
    return json.dumps(line) + "\n"


def _read_index(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="ascii") as file:
        yield from map(json.loads, file)


def _index_lines(path: Path, wanted: set[int]) -> list[dict[str, Any]]:
    return [line for i, line in enumerate(_read_index(path)) if i in wanted]


def refuse_foreign(target: Path, overwrite: bool = False) -> None:
    """Raise InputError `collision` where `target` is there and holds more than our frames.

    `overwrite`: more may be there, as long as it is a folder.
    """
    if not os.path.lexists(target):
        return
    advice = "choose another -o"
    if target.is_symlink() or not target.is_dir():
        raise InputError("collision", f"{target} is there and is no folder of frames; {advice}")
    _refuse_folders(target)
    if overwrite:
        return
    advice = f"give --overwrite to write among what is there, or {advice}"
    with _writing(target):
        names = sorted(entry.name for entry in target.iterdir())
        foreign = _foreign(names)
        if foreign:
            raise InputError(
                "collision", f"{target} holds a file that is no frame, {foreign[0]!r}; {advice}"
            )
        if names and not _is_index(target / INDEX_NAME):
            raise InputError(
                "collision", f"{target} holds no {INDEX_NAME} of an earlier run; {advice}"
            )
        if changed := _changed(target, names):
            raise InputError(
                "collision",
                f"{target / changed} was changed since vmm wrote it; "
                "give --overwrite to replace it, or choose another -o",
            )


def _changed(target: Path, names: Iterable[str]) -> str | None:
    """Return the name of a picture that is newer than the index, which is written last."""
    if not names:
        return None
    written = (target / INDEX_NAME).stat().st_mtime_ns
    pictures = (name for name in names if name != SHEET_NAME)
    return next((name for name in pictures if (target / name).stat().st_mtime_ns > written), None)


def _is_index(path: Path) -> bool:
    """Return True if a file says of each line's picture what `_index_line` writes, and no more."""
    try:
        return all(line.keys() == INDEX_FIELDS for line in _read_index(path))
    except (OSError, ValueError, AttributeError):
        return False


def _refuse_folders(target: Path) -> None:
    """Raise InputError `collision` where a folder has a frame's name: it is not ours to remove."""
    with _writing(target):
        entries = sorted(target.iterdir())
    for entry in entries:
        if _OURS.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
            raise InputError(
                "collision",
                f"{entry} is a folder in a frame's place; move it away, or choose another -o",
            )


def _foreign(names: Iterable[str]) -> list[str]:
    return [name for name in names if not _OURS.fullmatch(name)]


def _put_in_place(made: Path, target: Path, *, overwrite: bool) -> None:
    """Rename the finished folder to its place, where an earlier run's frames may stand."""
    refuse_foreign(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        made.rename(target)
    elif _foreign(entry.name for entry in target.iterdir()):
        _put_among(made, target)
    else:
        old = made.with_name(f"{made.name}.old")
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def _put_among(made: Path, target: Path) -> None:
    """Move the finished files into a folder that also holds others, which stay; the index last."""
    for entry in target.iterdir():
        if _OURS.fullmatch(entry.name):
            entry.unlink()
    names = [entry.name for entry in made.iterdir()]
    for name in sorted(names, key=lambda name: name == INDEX_NAME):
        (made / name).rename(target / name)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError("output", f"{path} cannot be written: {error.strerror or error}") from None
