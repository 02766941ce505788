"""Memory does not grow with the number of pictures."""

from __future__ import annotations

import gc
from collections import deque

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


def test_a_file_that_was_read_leaves_no_picture_behind(bikes):
    """The first picture's side data is looked at, which ties what is looked at into a cycle."""
    import av

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            deque(iter_pictures(bikes, [FrameRequest("x", sampling.all(end=1))]), maxlen=0)
        left = [thing for thing in gc.get_objects() if type(thing) is av.VideoFrame]
        largest = max((frame.width * frame.height for frame in left), default=0)
    finally:
        gc.enable()
        gc.collect()
    assert largest <= 8 * 8
