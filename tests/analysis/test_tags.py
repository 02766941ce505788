"""Labels of what several networks say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmm_cli.analysis.tags import (
    HEARD_SHARE,
    PICTURES_AT_ONCE,
    SEEN_SHARE,
    Table,
    Tag,
    kinds_seen,
    probabilities,
    seen,
    summed,
    surely,
)

KINDS = ("person", "dog")
FINE = ("poodle", "beagle", "volcano", "lab coat")
TABLE = Table(
    general=(*KINDS, "volcano"),
    kinds=2,
    classes=np.array([[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], bool),
    both=(-7.0, 2.3, 0.3),
    pictures=(-5.0, 1.0),
    is_animal=np.array([0, 1, 0], bool),
    fine=FINE,
    is_fine=np.array([1, 1, 0, 0], bool),
)
NOTHING = [0.0, 0.0]
UNSURE = [0.05, 0.05, 0.05, 0.85]
POODLE = [0.9, 0.05, 0.01, 0.04]


def tags_of(objects: np.ndarray, pictures: np.ndarray) -> list[Tag]:
    return seen(TABLE, objects, pictures, summed(pictures, TABLE.classes))


def told(objects: list[list[float]], pictures: list[list[float]]) -> dict[str, float]:
    tags = tags_of(np.array(objects), np.array(pictures))
    return {tag.label: tag.score for tag in tags if tag.score >= 0.5}


def test_pictures_are_summed_in_pieces_as_at_once() -> None:
    pictures = np.random.default_rng(1).random((2 * PICTURES_AT_ONCE + 7, 4))
    sums = summed(pictures, TABLE.classes)
    assert np.allclose(sums, pictures @ TABLE.classes.T, rtol=1e-12, atol=0)
    assert np.array_equal(sums[:, 0], np.zeros(len(pictures)))


def test_an_object_is_told_by_its_kind() -> None:
    assert list(told([[0.8, 0.0]] * 2, [UNSURE] * 2)) == ["person"]


def test_what_both_say_is_surer_than_what_one_says() -> None:
    (alone,) = told([[0.0, 0.6]] * 2, [[0.0, 0.0, 0.0, 1.0]] * 2).values()
    both = told([[0.0, 0.6]] * 2, [POODLE] * 2)
    assert list(both) == ["dog", "poodle"]  # the general one first
    assert both["dog"] > alone


def test_where_breeds_are_unsure_only_the_general_one_is_told() -> None:
    assert list(told([[0.0, 0.6]] * 2, [[0.45, 0.45, 0.0, 0.1]] * 2)) == ["dog"]


def test_what_imagenet_is_bad_at_is_never_told() -> None:
    assert told([NOTHING] * 3, [[0.0, 0.0, 0.0, 1.0]] * 3) == {}


def test_places_are_told_by_pictures_alone() -> None:
    assert list(told([NOTHING] * 2, [[0.0, 0.0, 0.95, 0.05]] * 2)) == ["volcano"]


def test_one_smeared_picture_says_nothing() -> None:
    dog, none = [0.0, 0.9], NOTHING
    assert told([dog, none, none], [UNSURE] * 3) == {}
    assert list(told([dog], [UNSURE])) == ["dog"]  # a still
    few = [dog] * 7 + [none] * 33
    assert told(few, [UNSURE] * 40) == {}  # 8 of 40 are needed
    assert list(told([dog] * 2 + few[:38], [UNSURE] * 40)) == ["dog"]


def test_no_pictures_are_no_labels() -> None:
    assert tags_of(np.empty((0, 2)), np.empty((0, 4))) == []


def test_the_rows_that_support_a_label_are_named() -> None:
    objects = np.array([NOTHING, [0.0, 0.9], NOTHING, [0.0, 0.7], [0.0, 0.8]])
    (dog, *_) = tags_of(objects, np.array([UNSURE] * 5))
    assert dog.rows == (1, 3, 4)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.just(2)), elements=st.floats(0, 1)),
    st.floats(0, 1),
)
def test_probabilities_are_probabilities(objects: np.ndarray, share: float) -> None:
    pictures = summed(np.full((len(objects), 4), share / 4), TABLE.classes)
    found = probabilities(TABLE, objects, pictures)
    assert found.shape == (len(objects), 3)
    assert ((found >= 0) & (found <= 1)).all()
    louder = probabilities(TABLE, np.minimum(1, objects + 0.1), pictures)
    assert (louder[:, :2] >= found[:, :2] - 1e-12).all()


@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.just(1)), elements=st.floats(0, 1)),
    st.sampled_from((SEEN_SHARE, HEARD_SHARE)),
)
def test_a_video_is_as_sure_as_a_share_of_its_pictures(sure: np.ndarray, share: float) -> None:
    (score,) = surely(sure, share)
    as_sure = int((sure >= score).sum())
    assert as_sure >= min(len(sure), 2) and as_sure >= len(sure) * share
    surer = int((sure > score).sum())
    assert surer < max(2, len(sure) * share + 1)


# --- which objects count ------------------------------------------------------------------------

CLASSES = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], bool)  # person, dog, sheep
ANIMALS = np.array([0, 1, 1], bool)
PERSON, DOG, SHEEP = 0, 1, 2


def counted(objects: list[tuple[float, ...]], picture: list[float]) -> list[int]:
    found = np.array(objects, np.float32).reshape(-1, 6)
    (best,) = kinds_seen([found], summed(np.array([picture]), CLASSES), ANIMALS)
    return np.flatnonzero(best).tolist()


def test_one_thing_with_two_names_is_what_is_said_louder() -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    beside = (0.7, 0.1, 0.3, 0.3)
    dog, person = (DOG, 0.5, *box), (PERSON, 0.7, *box)
    nothing = [0.0, 0.0, 0.0, 1.0]
    assert counted([person, dog], nothing) == [PERSON]
    assert counted([person, (DOG, 0.5, *beside)], nothing) == [PERSON, DOG]
    assert counted([(PERSON, 0.55, *box), dog], [0.4, 0.0, 0.0, 0.6]) == [DOG]  # both say so


def test_an_animal_that_a_sure_picture_rules_out_is_none() -> None:
    sheep = (SHEEP, 0.6, 0.1, 0.1, 0.3, 0.3)
    assert counted([sheep], [0.9, 0.0, 0.0, 0.1]) == []
    assert counted([sheep], [0.8, 0.1, 0.0, 0.1]) == [SHEEP]
    assert counted([(PERSON, 0.6, 0.1, 0.1, 0.3, 0.3)], [0.9, 0.0, 0.0, 0.1]) == [PERSON]


def test_pictures_without_objects_have_none() -> None:
    empty = np.empty((0, 6), np.float32)
    best = kinds_seen([empty, empty], summed(np.full((2, 4), 0.25), CLASSES), ANIMALS)
    assert best.tolist() == [[0.0] * 3] * 2
    assert kinds_seen([], np.empty((0, 3)), ANIMALS).shape == (0, 3)
