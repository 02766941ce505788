"""What a video shows at some times, small."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from PIL import Image

from vmm_cli.errors import InputError
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import at
from vmm_cli.media.video import Video

ROUNDING_S = 1e-6  # a frame may be shown for a time that is wanted by so much before its own


def frames_at(
    video: Video, times: Sequence[float], height: int, width: int | None = None
) -> dict[float, Image.Image]:
    """Return the frame shown at each time; none at all where the file has none.

    height: in pixels, of the shorter side; width: the longest that the longer side may be.

    Raises:
        InputError: the file cannot be read any more.
    """
    if not times:
        return {}
    request = FrameRequest("small pictures", at(times), Size(short=height))
    shown: list[tuple[float, Image.Image]] = []
    try:
        for frame in video.frames([request]):
            picture = Image.fromarray(frame.image)
            if width is not None:
                picture.thumbnail((width, height))
            shown.append((frame.time_s, picture))
    except InputError as error:
        if error.code not in ("no_video", "unreadable"):  # a file can be heard and not seen
            raise
    if not shown:
        return {}
    starts = [time for time, _ in shown]
    return {time: shown[max(0, bisect_right(starts, time + ROUNDING_S) - 1)][1] for time in times}
