"""The pixel aspect of each picture, where it changes within a stream (4:3 to 16:9)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av.video.frame
import av.video.stream


@dataclass(slots=True)
class Aspects:
    """Follows the pixel aspect that a stream's decoder reports.

    What the container says goes before what the codec says at the beginning, as in players; once
    the codec says something else, that counts.
    """

    _current: Fraction | None
    _coded: Fraction | None

    @classmethod
    def of(cls, stream: av.video.stream.VideoStream) -> Aspects:
        """Return the aspects of a stream from which nothing has been decoded yet."""
        return cls(stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio)

    def take(
        self, stream: av.video.stream.VideoStream, frame: av.video.frame.VideoFrame
    ) -> Fraction | None:
        """Return the aspect of the picture that just came out of the decoder."""
        coded = stream.codec_context.sample_aspect_ratio
        # The decoder has read on: what it still held when the aspect changed comes out first.
        if coded != self._coded and (frame.key_frame or self._coded is None):
            self._coded = coded
            self._current = coded or self._current
        return self._current
