"""The pixel aspect of each picture, where it changes within a stream (4:3 to 16:9)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av.video.stream


@dataclass(slots=True)
class Aspects:
    """Follows the pixel aspect that a stream's decoder reports.

    What the container says goes before what the codec says at the beginning, as in players; once
    the codec says something else, that counts for the pictures from there on. The decoder still
    holds earlier ones by then.
    """

    _coded: Fraction | None
    _since: list[tuple[int, Fraction | None]]  # (time in ticks, aspect from then on), ascending

    @classmethod
    def of(cls, stream: av.video.stream.VideoStream) -> Aspects:
        """Return the aspects of a stream from which nothing has been decoded yet."""
        coded = stream.codec_context.sample_aspect_ratio
        return cls(coded, [(-(2**63), stream.sample_aspect_ratio)])

    def note(self, stream: av.video.stream.VideoStream, pts: int | None) -> None:
        """Note what the decoder says once it has been given the packet of this time."""
        coded = stream.codec_context.sample_aspect_ratio
        if coded == self._coded:
            return
        was_known, self._coded = self._coded is not None, coded
        if was_known and coded:
            since = self._since[-1][0] + 1 if pts is None else pts
            self._since = [one for one in self._since if one[0] < since]
            self._since.append((since, coded))

    def at(self, pts: int) -> Fraction | None:
        """Return the aspect of the picture of this time."""
        return next(aspect for since, aspect in reversed(self._since) if since <= pts)
