"""Memory does not grow with the number of pictures."""

from __future__ import annotations

import gc

from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest, iter_pictures


def test_a_picture_is_freed_without_the_garbage_collector(bikes):
    """A picture in a reference cycle stays until the collector runs: megabytes each."""
    import av

    gc.collect()
    gc.disable()
    try:
        for _ in iter_pictures(bikes, [FrameRequest("x", sampling.all())]):
            pass
        left = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
    finally:
        gc.enable()
        gc.collect()
    assert left < 10
