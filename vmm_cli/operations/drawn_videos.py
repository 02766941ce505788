"""Each video again with what was found in it drawn on its pictures: `--draw`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vmm_cli import progress
from vmm_cli.errors import InputError, UsageError
from vmm_cli.files import as_output_error, make_folder
from vmm_cli.output.owned import (
    ADVICE,
    NOTES_FILE,
    Written,
    add_note,
    foreign,
    refuse_foreign,
    sampled_digest,
)
from vmm_cli.output.pictured import PICTURES
from vmm_cli.output.unfinished import made_by_name, remove_unfinished

if TYPE_CHECKING:
    from vmm_cli.batch.inputs import Input
    from vmm_cli.batch.work import Work
    from vmm_cli.media.video import Video
    from vmm_cli.media.writing import Edit

OPTION, FIELD, SUFFIX = "--draw", "drawing", ".drawn.mp4"
SILENT = "the drawn video has no sound: this part has none, or it cannot be decoded"
# The encoder looks some pictures ahead, of which each takes 12 MB where a video is 4K.
DRAWING_BYTES = 400 * 2**20


Job = TypeVar("Job")
Part = TypeVar("Part")
Result = TypeVar("Result")


class Drawn(Protocol):
    """A job whose records can be drawn."""

    def video(self, input: Input, /) -> Video:
        """Return an input's wanted part."""

    def edit(self, record: dict[str, Any], /) -> Edit:
        """Return what draws a record on its pictures, and may take out what only that needs."""


@dataclass(frozen=True)
class DrawnVideos:
    """Draws each record on its video, into a folder: see `vmm_cli.batch.work.Beside`.

    Attributes:
        folder: where the videos go.
        suffix: what the name of one has behind its input's.
        overwrite: whether a file of a video's name may be replaced that vmm did not write, or wrote
            of another input.
    """

    folder: Path
    suffix: str
    overwrite: bool = False
    what: str = PICTURES

    def name(self, input: Input) -> str:
        """Return what an input's video is called in the folder."""
        return f"{input.output_name}{self.suffix}"

    def target(self, input: Input) -> Path:
        """Return where an input's video belongs."""
        return self.folder / self.name(input)

    def refuse_foreign(self, inputs: Sequence[Input]) -> None:
        """Raise UsageError where one would take the place of what vmm did not make of its input.

        Or of an input, whatever it is.
        """
        read = {os.path.realpath(input.path): input for input in inputs}
        written = self._written()
        for input in inputs:
            target = self.target(input)
            if (other := read.get(os.path.realpath(target))) is not None:
                raise UsageError(
                    f"{target}: {other.name} itself is to be read, and would be replaced by the "
                    f"video drawn of {input.name}; choose another {OPTION}"
                )
            if not self.overwrite:
                refuse_foreign(target, written, self.name(input), input.path, option=OPTION)

    def is_kept(self, input: Input) -> bool:
        """Tell whether the video of an earlier run is still there."""
        return self.target(input).is_file()

    def knows(self) -> Callable[[Path], bool]:
        """Return what tells whether an earlier run wrote a file."""
        folder, written = os.path.realpath(self.folder), self._written()

        def wrote(path: Path) -> bool:
            name = os.path.relpath(os.path.realpath(path), folder)
            return written.is_noted(Path(name).as_posix())

        return wrote

    def make(self, input: Input, job: Drawn, record: dict[str, Any]) -> None:
        """Draw a record on its video, and name that in it.

        Raises:
            InputError: the video cannot be read any more, or something else stands there.
            OutputError: it cannot be written.
        """
        from vmm_cli.media.writing import write_again

        target, name = self.target(input), self.name(input)
        # Again, for it may have come meanwhile.
        if not self.overwrite and os.path.lexists(target):
            problem = foreign(target, self._written(), name, input.path)
            if problem is not None:
                raise InputError("output", f"{problem}; {ADVICE.format(option=OPTION)}")
        make_folder(target.parent)
        video = job.video(input)
        progress.over(float(video.start), float(video.until_s))
        with as_output_error(target), made_by_name(self.folder, target) as path:
            again = write_again(video, path, job.edit(record))
            add_note(self.folder / NOTES_FILE, name, sampled_digest(path), input.path)
        record[FIELD] = name
        if video.has_sound and not again.sound:
            record["warnings"] = [*record.get("warnings", ()), SILENT]

    def _written(self) -> Written:
        return Written(self.folder / NOTES_FILE, digest=sampled_digest)


def drawn_into(
    work: Work[Job, Part, Result], folder: Path, suffix: str, *, overwrite: bool
) -> Work[Job, Part, Result]:
    """Return work whose records are also drawn on their videos, into a folder: `DrawnVideos`."""
    drawing = DrawnVideos(folder, suffix, overwrite)
    return replace(work, beside=(*work.beside, drawing), tidy=partial(_tidy, folder))


def _tidy(folder: Path, job: object) -> None:
    remove_unfinished(folder)
