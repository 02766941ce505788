"""Where objects are between the pictures that were looked at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli.analysis.boxes_between import ALONE_S, BoxesBetween


def an_object(time_s: float, x: float, track: int | None = 0, **more: Any) -> dict[str, Any]:
    one = {"time_s": time_s, "label": "car", "score": 0.9, "box": [x, 0.2, 0.1, 0.3], **more}
    return one if track is None else {**one, "track": track}


def places(boxes: BoxesBetween, time_s: float) -> list[float]:
    return [one.box[0] for one in boxes.at(time_s)]


def test_a_box_moves_evenly_along_its_track() -> None:
    boxes = BoxesBetween([0.0, 0.5], [an_object(0, 0.1), an_object(0.5, 0.3)])
    assert places(boxes, 0) == [0.1]
    assert places(boxes, 0.25) == [pytest.approx(0.2)]
    assert places(boxes, 0.5) == [0.3]
    assert places(boxes, 0.52) == [] == places(boxes, -0.1)


def test_what_the_next_picture_lacks_ends_with_its_own() -> None:
    seen = [an_object(0, 0.1), an_object(0.5, 0.2), an_object(1.0, 0.5, 1), an_object(1.5, 0.4)]
    boxes = BoxesBetween([0.0, 0.5, 1.0, 1.5], seen)
    assert places(boxes, 0.5) == [0.2] and places(boxes, 0.54) == []
    assert places(boxes, 1.0) == [0.5] and places(boxes, 1.2) == []
    assert places(boxes, 1.5) == [0.4]


def test_what_is_seen_once_can_be_read() -> None:
    boxes = BoxesBetween([0.0, 5.0, 10.0], [an_object(5.0, 0.3, None)])
    assert places(boxes, 5.0) == places(boxes, 5.0 + ALONE_S - 0.01) == [0.3]
    assert places(boxes, 4.99) == places(boxes, 5.0 + ALONE_S + 0.01) == []


def test_times_are_rounded_in_records() -> None:
    boxes = BoxesBetween([0.033], [an_object(0.033, 0.3)])
    assert places(boxes, 1 / 30) == [0.3]
    boxes = BoxesBetween([0.067], [an_object(0.067, 0.3)])
    assert places(boxes, 2 / 30) == [0.3]


def test_poses_move_with_their_boxes() -> None:
    first = an_object(0, 0.1, pose=[[0.1, 0.2, 0.9]])
    last = an_object(1, 0.3, pose=[[0.3, 0.4, 0.5]])
    (one,) = BoxesBetween([0, 1], [first, last]).at(0.5)
    assert one.pose == (pytest.approx((0.2, 0.3, 0.7)),)
    (alone,) = BoxesBetween([0, 1], [first, an_object(1, 0.3)]).at(0.5)
    assert alone.pose is None


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.lists(st.integers(0, 2), min_size=2, max_size=6),
    st.floats(-1, 8),
)
def test_no_box_lies_where_its_track_was_not(
    xs: list[float], tracks: list[int], time_s: float
) -> None:
    seen = [
        an_object(float(i), x, track) for i, (x, track) in enumerate(zip(xs, tracks, strict=False))
    ]
    boxes = BoxesBetween([float(i) for i in range(len(seen))], seen)
    for one in boxes.at(time_s):
        own = [two for two in seen if two["track"] == one.track]
        times = [two["time_s"] for two in own]
        sides = [two["box"][0] for two in own if abs(two["time_s"] - time_s) < 1.001]
        assert min(times) - 0.001 <= time_s <= max(times) + 0.001
        assert min(sides) - 1e-9 <= one.box[0] <= max(sides) + 1e-9
