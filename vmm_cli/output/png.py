"""PNG files that vmm draws, marked so that it knows them again: see `vmm_cli.output.owned`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vmm_cli.output.owned import noted_file

if TYPE_CHECKING:
    from PIL.Image import Image

MARK = {"Software": "vmm"}  # text of the file, by keyword


def save_png(image: Image, path: Path, note: Callable[[str], None] | None = None) -> None:
    """Write a picture, whole or not at all, and `note` its digest just before.

    OutputError where it cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for keyword, text in MARK.items():
        info.add_text(keyword, text)
    with noted_file(path, note) as file:
        image.save(file.buffer, "PNG", pnginfo=info)
