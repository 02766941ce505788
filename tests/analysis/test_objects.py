"""What is in a video, of what its pictures say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm_cli import bundles
from vmm_cli.analysis.objects import ObjectsFound, Shown, Wanted, objects_found
from vmm_cli.features import objects, poses
from vmm_cli.features.sightings import Sightings
from vmm_cli.features.values import Sets

MODEL = bundles.load("objects")
PERSON, BICYCLE, CAR = map(MODEL.labels.index, ("person", "bicycle", "car"))


def row(label: int, score: float, x: float = 0.1, side: float = 0.2) -> list[float]:
    return [label, score, x, 0.3, side, side]


def found(
    *pictures: list[list[float]], step_s: float = 0.5, wanted: Wanted | None = None
) -> ObjectsFound:
    times = [i * step_s for i in range(len(pictures))]
    sets = [np.array(one, np.float32).reshape(-1, 6) for one in pictures]
    seen = Sightings(Sets.of(times, sets, objects.COLUMNS), None, None)
    return objects_found(
        seen, MODEL, wanted or Wanted(), Shown(60.0, len(pictures) * step_s, 640, 360)
    )


def labels(made: ObjectsFound) -> list[str]:
    return [one.label for one in made.objects]


def test_what_two_pictures_say_counts() -> None:
    made = found([row(CAR, 0.8)], [row(CAR, 0.6, 0.12)])
    assert [(one.label, one.track, one.time_s) for one in made.objects] == [
        ("car", 0, 0.0),
        ("car", 0, 0.5),
    ]
    (summary,) = made.summary
    assert (summary.label, summary.most, summary.share, summary.tracks) == ("car", 1, 1.0, 1)


def test_what_one_picture_says_is_nothing() -> None:
    assert not found([row(CAR, 0.9)], [], [row(PERSON, 0.9, 0.7)]).objects


def test_a_smeared_picture_takes_the_name_of_the_others() -> None:
    made = found([row(CAR, 0.8)], [row(BICYCLE, 0.5)], [row(CAR, 0.7)])
    assert labels(made) == ["car"] * 3
    assert [one.label for one in made.summary] == ["car"]


def test_what_is_unsure_goes_on_with_what_was_sure() -> None:
    made = found([row(CAR, 0.8)], [row(CAR, 0.7)], [row(CAR, 0.3)], [row(CAR, 0.1)])
    assert [one.time_s for one in made.objects] == [0.0, 0.5, 1.0]
    assert not found([row(CAR, 0.4)], [row(CAR, 0.4)], [row(CAR, 0.4)]).objects
    assert found([row(CAR, 0.4)], [row(CAR, 0.4)], wanted=Wanted(min_score=0.4)).objects
    assert found([row(CAR, 0.1)], [row(CAR, 0.1)], wanted=Wanted(min_score=0.1)).objects


def test_of_two_names_for_one_box_the_better_one_counts() -> None:
    both = [row(CAR, 0.8), row(PERSON, 0.6, 0.11)]
    assert labels(found(both, both)) == ["car", "car"]
    apart = [row(CAR, 0.8), row(PERSON, 0.6, 0.2)]
    assert sorted(set(labels(found(apart, apart)))) == ["car", "person"]


def test_pictures_far_apart_speak_for_themselves() -> None:
    made = found([row(CAR, 0.5)], [row(BICYCLE, 0.4)], [row(PERSON, 0.9)], step_s=10)
    assert labels(made) == ["car", "person"]
    assert [one.track for one in made.objects] == [None, None]
    assert [one.tracks for one in made.summary] == [None, None]


def test_a_picture_that_is_shown_for_long_speaks_for_itself() -> None:
    """As in a slide show: one picture at the times that it answers."""
    seen = Sightings(
        Sets.of(
            [0.0, 5.0, 5.5, 6.0],
            [np.array([row(label, 0.8)], np.float32) for label in (CAR, BICYCLE, PERSON, PERSON)],
            objects.COLUMNS,
        ),
        None,
        None,
    )
    made = objects_found(seen, MODEL, Wanted(), Shown(10.0, 10.0, 640, 360))
    assert [(one.label, one.track) for one in made.objects] == [
        ("car", None),
        *[("person", 0)] * 3,  # followed: the bicycle is one picture's
    ]
    assert {one.label: one.share for one in made.summary} == {"car": 0.5, "person": 0.5}


def test_a_box_within_another_of_its_label_is_the_same_object() -> None:
    both = [row(PERSON, 0.8, 0.1, 0.4), row(PERSON, 0.7, 0.12, 0.2)]
    assert labels(found(both, both)) == ["person"] * 2
    other = [row(PERSON, 0.8, 0.1, 0.4), row(BICYCLE, 0.7, 0.12, 0.2)]
    assert sorted(set(labels(found(other, other)))) == ["bicycle", "person"]


def test_a_single_picture_speaks_for_itself() -> None:
    assert labels(found([row(CAR, 0.5)])) == ["car"]


def test_two_at_once_are_counted() -> None:
    two = [row(PERSON, 0.8), row(PERSON, 0.7, 0.6)]
    made = found(two, two, [row(PERSON, 0.8)], [])
    (summary,) = made.summary
    assert (summary.most, summary.share, summary.tracks) == (2, 0.75, 2)
    assert (summary.first_s, summary.last_s) == (0.0, 1.0)
    assert [one.track for one in made.objects] == [0, 1, 0, 1, 0]  # 0: seen longest


def test_labels_that_are_not_wanted_are_left_out() -> None:
    both = [row(PERSON, 0.8), row(CAR, 0.7, 0.6)]
    made = found(both, both, wanted=Wanted(("car",)))
    assert labels(made) == ["car", "car"]
    assert {one.track for one in made.objects} == {0}


def test_poses_belong_to_their_people() -> None:
    picture = np.array([row(CAR, 0.8, 0.6), row(PERSON, 0.7)], np.float32)
    points = np.arange(51, dtype=np.float32) / 100
    pose = np.concatenate([[1], points]).reshape(1, -1)  # the second object's
    seen = Sightings(
        Sets.of([0.0], [picture], objects.COLUMNS), Sets.of([0.0], [pose], poses.COLUMNS), None
    )
    car, person = objects_found(seen, MODEL, Wanted(), Shown(1.0, 1.0, 640, 360)).objects
    assert car.pose is None and "pose" not in car.to_record()
    assert person.to_record()["pose"][1] == [0.03, 0.04, 0.05]
    assert len(person.to_record()["pose"]) == 17


def test_nothing_is_nothing() -> None:
    for made in (found(), found([]), found([], [], [])):
        assert not made.objects and made.summary == []
    assert repr(found([])) == "ObjectsFound(nothing in 1 pictures)"


LABEL = st.sampled_from([PERSON, BICYCLE, CAR])
OBJECT = st.tuples(LABEL, st.floats(0.1, 1), st.floats(0, 0.8))


@given(st.lists(st.lists(OBJECT, max_size=5), max_size=6), st.sampled_from([0.5, 5.0]))
def test_summaries_are_of_the_objects_that_are_told(
    pictures: list[list[tuple[int, float, float]]], step_s: float
) -> None:
    made = found(*([row(*one) for one in picture] for picture in pictures), step_s=step_s)
    assert {one.label for one in made.summary} == set(labels(made))
    for one in made.summary:
        times = [each.time_s for each in made.objects if each.label == one.label]
        assert one.share == pytest.approx(len(set(times)) / len(pictures))
        assert one.most == max(times.count(time_s) for time_s in times)
        assert (one.first_s, one.last_s) == (min(times), max(times))
    shown = [(one.time_s, one.track) for one in made.objects if one.track is not None]
    assert len(set(shown)) == len(shown)  # no track is twice in a picture
