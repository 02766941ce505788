"""Work whose records are also drawn: a picture of each input, in a folder of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import InputError
from vmm_cli.files import make_folder
from vmm_cli.output.owned import ADVICE, NOTES_FILE, Written, add_note, foreign, refuse_foreign
from vmm_cli.output.png import save_png

if TYPE_CHECKING:
    from PIL.Image import Image

    from vmm_cli.batch.inputs import Input
    from vmm_cli.media.video import Video


PICTURES = "pictures"  # what is said to lie in a folder


@dataclass(frozen=True)
class PictureKind:
    """A kind of picture.

    Attributes:
        option: of the command line, which names the folder.
        field: of the record, which names the picture.
        suffix: what its name has behind the input's.
        draw: (video, record, job) draws a record. At module level: it runs in workers.
        only_drawn: fields that only the picture needs; they leave the record with it.
    """

    option: str
    field: str
    suffix: str
    draw: Callable[[Video, Mapping[str, Any], Any], Image]
    only_drawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """Draws each record into a folder; the job of the work says which part of a video is wanted.

    A record's picture that is gone is drawn again.

    overwrite: whether a file of a picture's name may be replaced that vmm did not draw, or drew of
    another input.
    """

    kind: PictureKind
    folder: Path
    overwrite: bool = False
    what: str = PICTURES

    def name(self, input: Input) -> str:
        """Return what the picture of an input is called in its folder."""
        return f"{input.output_name}{self.kind.suffix}"

    def target(self, input: Input) -> Path:
        """Return where the picture of an input belongs."""
        return self.folder / self.name(input)

    def refuse_foreign(self, inputs: Iterable[Input]) -> None:
        """Raise UsageError where one would take the place of what vmm did not draw of its input.

        What was noted when earlier pictures were drawn is looked at here alone: workers would read
        all of it for each input.
        """
        if self.overwrite:
            return
        written = Written(self.folder / NOTES_FILE)
        for input in inputs:
            name = self.name(input)
            option = self.kind.option
            refuse_foreign(self.target(input), written, name, input.path, option=option)

    def is_kept(self, input: Input) -> bool:
        """Tell whether the picture of an earlier run is still there."""
        return self.target(input).is_file()

    def knows(self) -> Callable[[Path], bool]:
        """Return what tells which videos vmm wrote: none of them is a picture."""
        return lambda path: False

    def make(self, input: Input, job: Any, record: dict[str, Any]) -> None:
        """Draw a record, and name the picture in it in place of what only that needs.

        Raises:
            InputError: the video cannot be read any more, or something else stands there.
            OutputError: the picture cannot be written.
        """
        target, name = self.target(input), self.name(input)
        # Again, for it may have come meanwhile.
        if not self.overwrite and (problem := foreign(target)) is not None:
            raise InputError("output", f"{problem}; {ADVICE.format(option=self.kind.option)}")
        make_folder(target.parent)
        image = self.kind.draw(job.video(input), record, job)
        notes = self.folder / NOTES_FILE
        save_png(image, target, lambda digest: add_note(notes, name, digest, input.path))
        for field in self.kind.only_drawn:
            del record[field]
        record[self.kind.field] = str(target.relative_to(self.folder))
