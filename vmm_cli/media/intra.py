"""Which pictures need no others, as their decoder says, and where a stream begins with one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import av.video.frame
import av.video.stream

from vmm_cli.media.trust import Distrust

# AVPictureType: unknown; I, SI and BI need no other picture.
_NO_PICTURE_TYPE, _INTRA_TYPES = 0, frozenset({1, 5, 7})
_INTRA_ONLY = 1  # AV_CODEC_PROP_INTRA_ONLY
# A stream that has no whole picture among so many at its beginning is refreshed bit by bit.
MAX_PARTIAL_PICTURES = 300


class HasFrame(Protocol):
    """A picture, with what is known of it."""

    @property
    def frame(self) -> av.video.frame.VideoFrame:
        """The picture as it came out of the decoder."""


Picture = TypeVar("Picture", bound=HasFrame)


def begins_anew(frame: av.video.frame.VideoFrame, stream: av.video.stream.VideoStream) -> bool:
    """Return True if a picture needs none of those before it."""
    if frame.is_corrupt or refers_back(frame, stream):
        return False
    return tells_whole(frame, stream)


def is_keyframe(frame: av.video.frame.VideoFrame, stream: av.video.stream.VideoStream) -> bool:
    """Return True if a picture is one that decoding can begin with, as its decoder says."""
    intra = frame.pict_type in (_NO_PICTURE_TYPE, *_INTRA_TYPES)
    return not frame.is_corrupt and intra and tells_whole(frame, stream)


def refers_back(frame: av.video.frame.VideoFrame, stream: av.video.stream.VideoStream) -> bool:
    """Return True if a picture's decoder says that it needs others before it.

    H.264's decoder hands out nothing that is not whole.
    """
    told = frame.pict_type not in (_NO_PICTURE_TYPE, *_INTRA_TYPES)
    return told and stream.codec_context.codec.canonical_name != "h264"


def tells_whole(frame: av.video.frame.VideoFrame, stream: av.video.stream.VideoStream) -> bool:
    """Return True if a decoder says what a picture is, one that does not refer back.

    Some never say, and others not of a picture that they made up for want of a reference.
    """
    if frame.pict_type == _NO_PICTURE_TYPE:
        return frame.key_frame or bool(stream.codec_context.codec.properties & _INTRA_ONLY)
    return True


@dataclass(slots=True)
class Beginning(Generic[Picture]):
    """Leaves out the pictures of a stream before the first whole one: they lack what they refer to.

    begun: whether there is nothing to leave out.
    """

    stream: av.video.stream.VideoStream
    begun: bool
    left_out: int = 0
    # Of which nobody says what they are: the decoder does not tell, or it made one up.
    unknown: list[Picture] = field(default_factory=list)

    def whole(self, picture: Picture) -> Iterator[Picture]:
        """Take the next picture and yield those that can be shown.

        Raises:
            Distrust: there seems to be no whole one.
        """
        if not self.begun:
            self._look_at(picture)
        if self.begun:
            yield from self.unknown
            self.unknown.clear()
            yield picture

    def _look_at(self, picture: Picture) -> None:
        if refers_back(picture.frame, self.stream):
            self.left_out += 1 + len(self.unknown)
            self.unknown.clear()
            if self.left_out > MAX_PARTIAL_PICTURES:
                raise Distrust("whole")
        elif tells_whole(picture.frame, self.stream):
            self.unknown.clear()
            self.begun = True
        elif self.unknown:  # of the next one neither
            self.begun = True
        else:
            self.unknown.append(picture)

    def rest(self) -> Iterator[Picture]:
        """Yield what is left where the stream is over.

        Raises:
            Distrust: no whole picture was in it.
        """
        if self.left_out and not self.begun:
            raise Distrust("whole")
        yield from self.unknown
        self.unknown.clear()
