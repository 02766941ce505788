"""A media file as one thing: where it lies, how much of it may be read, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from vmm_cli.errors import InputError
from vmm_cli.identity import FileIdentity, file_identity
from vmm_cli.media.audio import AudioBlock, Layout, iter_audio
from vmm_cli.media.captions import CaptionResult, captions
from vmm_cli.media.extent import Extent, extent, video_end_s
from vmm_cli.media.frames import (
    DecodeReport,
    Frame,
    FrameRequest,
    Picture,
    iter_frames,
    iter_pictures,
    times_every_picture,
)
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS
from vmm_cli.media.probe import MediaInfo, probe


@dataclass(frozen=True)
class Video:
    """A file of pictures, sound or both, and the part of it that is wanted.

    Nothing is read until it is asked for; what is known of the file is found out once. All times
    are seconds on the file's clock.

    Attributes:
        path: the file.
        max_pixels: pictures of more are not decoded.
        start, end: the wanted part; end None: to the end of the file.
    """

    path: Path
    max_pixels: int = DEFAULT_MAX_PIXELS
    start: Fraction = Fraction(0)
    end: Fraction | None = None

    @cached_property
    def identity(self) -> FileIdentity:
        """What the file was when this was first asked. InputError as `file_identity`."""
        return file_identity(self.path)

    def is_unchanged(self) -> bool:
        """Tell whether the file is what it was. InputError where it is gone."""
        return file_identity(self.path) == self.identity

    @cached_property
    def info(self) -> MediaInfo:
        """What the file holds. InputError as `probe`."""
        return probe(self.path, max_pixels=self.max_pixels)

    @cached_property
    def extent(self) -> Extent | None:
        """How far the file goes; None where it has neither pictures nor sound.

        Raises:
            InputError: as `open_media`.
        """
        try:
            return extent(self.path, max_pixels=self.max_pixels)
        except InputError as error:
            if error.code != "no_video":
                raise
            return None

    @property
    def duration_s(self) -> float:
        """Where the last of pictures and sound ends; 0: nobody knows. InputError as `extent`."""
        return 0.0 if self.extent is None else float(self.extent.end_s)

    @property
    def has_sound(self) -> bool:
        """Whether there is a stream of sound, be it one that can be decoded or not."""
        return self.extent is not None and self.extent.has_sound

    @cached_property
    def pictures_end_s(self) -> Fraction:
        """Where the pictures end. InputError as `require_video_stream`."""
        return video_end_s(self.path, max_pixels=self.max_pixels)

    @cached_property
    def end_s(self) -> Fraction:
        """Where the pictures end, or the sound where there are none.

        Raises:
            InputError: the file cannot be read, or has neither.
        """
        try:
            return self.pictures_end_s
        except InputError as error:
            if error.code == "no_video" and self.extent is not None and self.extent.end_s:
                return self.extent.end_s
            raise

    @property
    def until_s(self) -> Fraction:
        """Where the wanted part ends.

        Raises:
            InputError: `past_end`: nothing of it lies in the file; else as `end_s`.
        """
        return wanted_until(self.start, self.end, self.end_s)

    def may_lack_pictures(self, error: InputError) -> bool:
        """Tell whether a file that gave this error can do without pictures, or has none."""
        return error.code == "no_video" or (error.code == "unreadable" and self.has_sound)

    def times_every_picture(self) -> bool:
        """Tell whether every picture has a time before it is decoded: see frames."""
        return times_every_picture(self.path, max_pixels=self.max_pixels)

    def frames(
        self, requests: Sequence[FrameRequest], *, report: DecodeReport | None = None
    ) -> Iterator[Frame]:
        """Yield the pictures that `requests` want: see `iter_frames`. They share one decode."""
        return iter_frames(self.path, requests, max_pixels=self.max_pixels, report=report)

    def pictures(
        self, requests: Sequence[FrameRequest], *, report: DecodeReport | None = None
    ) -> Iterator[Picture]:
        """Yield the pictures that `requests` want, as they are decoded: see `iter_pictures`."""
        return iter_pictures(self.path, requests, max_pixels=self.max_pixels, report=report)

    def audio(
        self,
        rate: int,
        *,
        start: float = 0.0,
        end: float | None = None,
        layout: Layout = "mono",
    ) -> Iterator[AudioBlock]:
        """Yield the sound from `start` to `end` at `rate` samples a second: see `iter_audio`."""
        limit = self.max_pixels
        return iter_audio(self.path, rate, start=start, end=end, max_pixels=limit, layout=layout)

    def captions(self, *, until_s: float | None = None) -> CaptionResult:
        """Read all text that belongs to the file: see `captions`."""
        return captions(self.path, until_s=until_s, max_pixels=self.max_pixels)


def wanted_until(start: Fraction, end: Fraction | None, end_s: Fraction) -> Fraction:
    """Return where the part from `start` to `end` ends of a file that ends at `end_s`; seconds.

    `end` None: it goes on to the file's end.

    Raises:
        InputError: `past_end`: nothing of it lies in the file.
    """
    until = end_s if end is None else min(end, end_s)
    if start >= until:
        raise past_end(start, end_s)
    return until


def past_end(start: Fraction, end_s: Fraction | float | None) -> InputError:
    """Return the error of a file that ends at `end_s`, before `start`; seconds.

    `end_s` None: nobody knows where it ends.
    """
    ends = "before" if end_s is None else f"at {float(end_s):.3f} s"
    return InputError("past_end", f"nothing lies at {float(start):g} s: the video ends {ends}")
