"""Work whose records are also drawn: a picture of each input, in a folder of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm_cli.errors import InputError
from vmm_cli.files import make_folder
from vmm_cli.output.owned import ADVICE, NOTES_FILE, Written, add_note, foreign, refuse_foreign
from vmm_cli.output.png import save_png

if TYPE_CHECKING:
    from PIL.Image import Image

    from vmm_cli.batch.inputs import Input
    from vmm_cli.batch.work import Work
    from vmm_cli.media.video import Video


@dataclass(frozen=True)
class PicturesRequest:
    """Do what is `wanted`, and draw the records into `folder`.

    overwrite: whether a file of a picture's name may be replaced that vmm did not draw, or drew of
    another input.
    """

    wanted: Any
    folder: Path
    overwrite: bool = False


@dataclass(frozen=True)
class PictureKind:
    """A kind of picture.

    Attributes:
        option: of the command line, which names the folder.
        field: of the record, which names the picture.
        suffix: what its name has behind the input's.
        draw: (video, record, request) draws a record, from which it may take what only
            the picture needs. At module level: it runs in workers.
    """

    option: str
    field: str
    suffix: str
    draw: Callable[[Video, dict[str, Any], Any], Image]

    def name(self, input: Input) -> str:
        """Return what the picture of an input is called in its folder."""
        return f"{input.output_name}{self.suffix}"

    def target(self, request: PicturesRequest, input: Input) -> Path:
        """Return where the picture of an input belongs."""
        return request.folder / self.name(input)


def with_pictures(work: Work, kind: PictureKind) -> Work:
    """Return work that also draws each record; its request is a `PicturesRequest`.

    A record's picture that is gone is drawn again. What cannot be drawn fails the input: with the
    errors of `work`, InputError where the video cannot be read any more, and OutputError where the
    picture cannot be written.
    """
    return replace(
        work,
        run=partial(_run, work.run),
        finish=partial(_finish, work.finish, kind),
        plan=None if work.plan is None else partial(_plan, work.plan),
        kept=partial(_kept, kind),
    )


def refuse_foreign_pictures(
    kind: PictureKind, request: PicturesRequest, inputs: Iterable[Input]
) -> None:
    """Raise UsageError where a picture would take the place of what vmm did not draw of its input.

    What was noted when earlier pictures were drawn is looked at here alone: workers would read all
    of it for each input.
    """
    if request.overwrite:
        return
    written = Written(request.folder / NOTES_FILE)
    for input in inputs:
        target, name = kind.target(request, input), kind.name(input)
        refuse_foreign(target, written, name, input.path, option=kind.option)


def _plan(
    plan: Callable[[Any, Input, int], list[Any]],
    request: PicturesRequest,
    input: Input,
    workers: int,
) -> list[Any]:
    return plan(request.wanted, input, workers)


def _run(
    run: Callable[[Any, Input, Any], Any], request: PicturesRequest, input: Input, part: Any
) -> Any:
    return run(request.wanted, input, part)


def _finish(
    finish: Callable[[Any, Input, list[Any]], dict[str, Any]],
    kind: PictureKind,
    request: PicturesRequest,
    input: Input,
    parts: list[Any],
) -> dict[str, Any]:
    record = finish(request.wanted, input, parts)
    target = kind.target(request, input)
    # Again, for it may have come meanwhile.
    if not request.overwrite and (problem := foreign(target)) is not None:
        raise InputError("output", f"{problem}; {ADVICE.format(option=kind.option)}")
    make_folder(target.parent)
    image = kind.draw(request.wanted.video(input), record, request.wanted)
    name = kind.name(input)
    notes = request.folder / NOTES_FILE
    save_png(image, target, lambda digest: add_note(notes, name, digest, input.path))
    record[kind.field] = str(target.relative_to(request.folder))
    return record


def _kept(kind: PictureKind, request: PicturesRequest, input: Input) -> bool:
    return kind.target(request, input).is_file()
