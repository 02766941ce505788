"""Tracks as the MOT Challenge's text: a line for each object that is followed, of one video.

Frame, track, left, top, width, height, score, -1, -1, -1. Frames are the pictures that were looked
at, and tracks, whatever their label, both counted from 1; boxes are in pixels (Leal-Taixe et al.,
"MOTChallenge 2015", arXiv:1504.01942).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO


class MotText:
    """Writes the tracks of one record; of one that is not ok, nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the one record."""
        if record["status"] != "ok":
            return
        width, height = record["width"], record["height"]
        frames = {time_s: number for number, time_s in enumerate(record["times_s"], start=1)}
        for one in record["objects"]:
            if "track" not in one:
                continue
            frame = frames[one["time_s"]]
            x, y, wide, high = one["box"]
            sides = (x * width, y * height, wide * width, high * height)
            numbers = (*(f"{side:.2f}" for side in sides), f"{one['score']:.4f}", *("-1",) * 3)
            self._stream.write(",".join((str(frame), str(one["track"] + 1), *numbers)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is whole already."""
