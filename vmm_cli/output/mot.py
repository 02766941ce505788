"""Tracks as the MOT Challenge's text: a line for each object that is followed, of one video.

Frame, track, left, top, width, height, score, class, -1, -1. Frames are the pictures that were
looked at, and tracks, whatever their label, both counted from 1; boxes are in pixels (Leal-Taixe et
al., "MOTChallenge 2015", arXiv:1504.01942). Class is where its later years have it, before how much
is visible, which nobody knows here (Milan et al., "MOT16", arXiv:1603.00831): the number of the
label, from 1, as the model lists them and as `coco` numbers them. A person, the only class that is
measured there, is 1 in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from vmm_cli.output.coco import ObjectsOf


class MotText:
    """Writes the tracks of one record; of one that is not ok, nothing.

    Args:
        stream: where to.
        labels: of the model, in its order.
        objects: gives a record's objects.
    """

    def __init__(self, stream: TextIO, labels: Sequence[str], objects: ObjectsOf) -> None:
        self._stream = stream
        self._objects = objects
        self._numbers = {label: number for number, label in enumerate(labels, start=1)}

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the one record."""
        if record["status"] != "ok":
            return
        width, height = record["width"], record["height"]
        frames = {time_s: number for number, time_s in enumerate(record["times_s"], start=1)}
        for one in self._objects(record):
            if "track" not in one:
                continue
            frame = frames[one["time_s"]]
            x, y, wide, high = one["box"]
            sides = (x * width, y * height, wide * width, high * height)
            numbers = (*(f"{side:.2f}" for side in sides), f"{one['score']:.4f}")
            label = str(self._numbers[one["label"]])
            line = (str(frame), str(one["track"] + 1), *numbers, label, "-1", "-1")
            self._stream.write(",".join(line) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is whole already."""
