"""Boxes are followed from picture to picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmm_cli.analysis.sentiment.face import FOLLOWING
from vmm_cli.features.tracks import Following, Tracker, by_frequency, named


def box(x: float, y: float = 0.2, side: float = 0.2) -> list[float]:
    return [x, y, x + side, y + side]


def follow(*pictures: tuple[float, list[list[float]]]) -> list[list[int]]:
    tracker = Tracker(FOLLOWING)
    return [
        tracker.take(t, np.array(boxes).reshape(-1, 4), np.ones(len(boxes))).tolist()
        for t, boxes in pictures
    ]


def test_two_people_keep_their_numbers_whatever_their_order() -> None:
    one, other = box(0.1), box(0.6)
    assert follow((0, [one, other]), (0.5, [other, one]), (1, [one])) == [[0, 1], [1, 0], [0]]


def test_who_moves_a_little_is_followed_and_who_jumps_is_new() -> None:
    assert follow((0, [box(0.1)]), (0.5, [box(0.2)]), (1, [box(0.29)])) == [[0], [0], [0]]
    assert follow((0, [box(0.1)]), (0.5, [box(0.5)])) == [[0], [1]]


def test_a_closer_look_at_the_same_place_is_another_person() -> None:
    assert follow((0, [box(0.4)]), (0.5, [box(0.35, 0.15, 0.35)])) == [[0], [1]]


def test_who_is_away_for_long_is_new() -> None:
    assert follow((0, [box(0.1)]), (1, []), (2, [box(0.1)])) == [[0], [], [0]]
    assert follow((0, [box(0.1)]), (1, []), (2.1, [box(0.1)])) == [[0], [], [1]]


def test_the_nearer_of_two_is_taken() -> None:
    assert follow((0, [box(0.3)]), (0.5, [box(0.38), box(0.31)])) == [[0], [1, 0]]


@given(
    st.lists(st.lists(st.floats(0, 0.8), max_size=4), max_size=8),
)
def test_nobody_is_twice_in_a_picture_and_numbers_are_counted_up(
    pictures: list[list[float]],
) -> None:
    people = follow(*((i / 2, [box(x) for x in row]) for i, row in enumerate(pictures)))
    assert [len(row) for row in people] == [len(row) for row in pictures]
    highest = -1
    for row in people:
        assert len(set(row)) == len(row)
        new = sorted(person for person in row if person > highest)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)


@given(arrays(np.int64, st.integers(0, 30), elements=st.integers(0, 6)), st.integers(1, 3))
def test_people_are_ranked_by_how_often_they_are_seen(people: np.ndarray, least: int) -> None:
    ranked = by_frequency(people, least)
    counts = {r: int((ranked == r).sum()) for r in sorted(set(ranked.tolist()) - {-1})}
    assert list(counts) == list(range(len(counts)))
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    for person in set(people.tolist()):
        (rank,) = set(ranked[people == person].tolist())
        often = int((people == person).sum())
        assert (rank == -1) == (often < least)
        assert rank == -1 or counts[rank] == often


def test_of_two_seen_equally_often_the_first_comes_first() -> None:
    assert by_frequency(np.array([5, 3, 5, 3, 9]), 2).tolist() == [0, 1, 0, 1, -1]


# --- scores, and movement ------------------------------------------------------------------------

OBJECTS = Following(begins_from=0.5, moves=True)


def test_what_is_unsure_goes_on_with_a_track_and_begins_none() -> None:
    tracker = Tracker(OBJECTS)
    here, there = np.array([box(0.1)]), np.array([box(0.7)])
    assert tracker.take(0, here, np.array([0.9])).tolist() == [0]
    both = np.concatenate([there, here])
    assert tracker.take(0.5, both, np.array([0.3, 0.3])).tolist() == [-1, 0]
    assert tracker.take(1, here, np.array([0.9])).tolist() == [0]


def test_who_is_sure_is_given_a_track_before_who_is_not() -> None:
    tracker = Tracker(OBJECTS)
    tracker.take(0, np.array([box(0.1)]), np.array([0.9]))
    both = np.array([box(0.1), box(0.14)])
    assert tracker.take(0.5, both, np.array([0.3, 0.8])).tolist() == [-1, 0]


def test_what_moves_fast_is_looked_for_where_it_goes() -> None:
    """Each step is as long as the box: it shares nothing with where it was."""
    places = [0.0, 0.1, 0.25, 0.45, 0.65]
    for how, tracks in ((OBJECTS, 1), (Following(), 4)):
        tracker = Tracker(how)
        found = [
            int(tracker.take(i / 2, np.array([box(x)]), np.ones(1))[0])
            for i, x in enumerate(places)
        ]
        assert len(set(found)) == tracks


def test_two_that_cross_keep_their_numbers() -> None:
    tracker = Tracker(OBJECTS)
    for i in range(13):
        left, right = box(0.05 * i, 0.2), box(0.6 - 0.05 * i, 0.3)
        boxes = np.array([left, right] if i % 2 else [right, left])
        found = tracker.take(i / 4, boxes, np.ones(2)).tolist()
        assert found == ([1, 0] if i % 2 else [0, 1])


def test_a_track_is_named_by_all_its_pictures() -> None:
    tracks = np.array([0, 1, 0, 1, 0, -1, 3])
    labels = np.array([2, 0, 5, 0, 2, 1, 4])
    scores = np.array([0.6, 0.8, 0.7, 0.9, 0.5, 0.9, 0.4])
    found = named(tracks, labels, scores, 0.55)
    assert found.labels.tolist() == [2, 0, 0, 4]
    assert found.agreed.tolist() == [1, 2, 0, 0]


def test_nothing_has_no_tracks() -> None:
    none = np.empty(0, int)
    assert len(named(none, none, none.astype(float), 0.5).labels) == 0
    assert len(by_frequency(none, 2)) == 0
    assert len(Tracker(OBJECTS).take(0, np.empty((0, 4)), np.empty(0))) == 0
