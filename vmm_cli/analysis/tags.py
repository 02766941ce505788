"""One list of labels of what is seen and heard, of what several networks say. numpy only.

A picture's objects and the probabilities of ImageNet's labels speak for general labels: "dog" is
what a detector calls one, and all breeds together. How sure a label is, a logistic regression says
that was fitted on pictures whose content is known (tools/make_tags.py). A video, or a window of it,
is as sure of a label as a fifth of its pictures are, or a tenth of its sound, and two of them at
least where there are two: what one smeared picture says is nothing.

A detector gives one thing two names, and one animal that of another. So of boxes that cover each
other one counts, that of which both networks say the most; and where ImageNet's labels are sure of
an animal, another one counts only if they do not rule it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from vmm_cli.features.boxes import suppress

SEEN_SHARE = 0.2  # of the pictures that must be as sure
HEARD_SHARE = 0.1  # of the patches of sound: who speaks makes pauses
LEAST = 2  # of them, where there are so many

# Below this a network says nothing, and neither does a label of which no network says more.
LEAST_OBJECT, LEAST_PICTURE, MOST = 0.03, 0.005, 0.99
LEAST_EVIDENCE = 0.1
LEAST_ALONE = 0.5  # of classes that no detector can confirm

SAME_THING = 0.6  # of their union, which boxes of one thing share
OF_PICTURE = 0.1  # what ImageNet's labels count beside a detector's score, as fitted
SURE_ANIMAL, RULED_OUT = 0.5, 0.05  # probabilities of ImageNet's labels

PICTURES_AT_ONCE = 512  # whose probabilities are summed at once: a day has 86,400


@dataclass(frozen=True, eq=False)
class Table:
    """How what networks say becomes labels.

    Attributes:
        general: K labels; the first O of them are the kinds of the detector.
        kinds: O.
        classes: bool [K, 1000], which of ImageNet's labels speak for each.
        both: the constant, and the weights of an object's score and of the classes' probability:
            of kinds.
        pictures: the constant and the weight of the classes' probability: of the others.
        is_animal: bool [K].
        fine: the labels of ImageNet; is_fine: bool [1000], which of them are told beside the
            general one.
    """

    general: tuple[str, ...]
    kinds: int
    classes: np.ndarray
    both: tuple[float, float, float]
    pictures: tuple[float, float]
    is_animal: np.ndarray
    fine: tuple[str, ...]
    is_fine: np.ndarray


@dataclass(frozen=True, slots=True)
class Tag:
    """A label, how sure it is, from 0 to 1, and which rows are surest of it, ascending."""

    label: str
    score: float
    rows: tuple[int, ...]


def summed(pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how probable each label's classes are together in each picture: float64 [T, K].

    Args:
        pictures: ImageNet's probabilities, [T, 1000].
        classes: bool [K, 1000], see `Table`.
    """
    weights = classes.T.astype(np.float64)
    sums = np.empty((len(pictures), len(classes)))
    for first in range(0, len(pictures), PICTURES_AT_ONCE):
        here = slice(first, first + PICTURES_AT_ONCE)
        sums[here] = pictures[here] @ weights
    return sums


def kinds_seen(found: Sequence[np.ndarray], sums: np.ndarray, is_animal: np.ndarray) -> np.ndarray:
    """Return the best score of each kind of object in each picture: float64 [T, O].

    Args:
        found: of each picture the objects, [n, 6]: kind, score, x, y, w and h.
        sums: [T, O], see `summed`; is_animal: see `Table`. Of the O kinds or of more.
    """
    best = np.zeros((len(found), len(is_animal)))
    for row, objects, said in zip(best, found, sums, strict=True):
        kinds = objects[:, 0].astype(int)
        both = _log_odds(objects[:, 1].clip(LEAST_OBJECT, MOST))
        both += OF_PICTURE * _log_odds(said[kinds].clip(LEAST_PICTURE, MOST))
        corners = np.concatenate([objects[:, 2:4], objects[:, 2:4] + objects[:, 4:6]], axis=1)
        kept = suppress(corners, both, SAME_THING)
        np.maximum.at(row, kinds[kept], objects[kept, 1])
        if said[is_animal].max(initial=0) >= SURE_ANIMAL:
            row[is_animal & (said < RULED_OUT)] = 0
    return best


def evidence(objects: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the networks say of each label, as log-odds above the least: [T, K] both.

    objects: [T, O], the best score of each kind in each picture; sums: [T, K], see `summed`.
    0 where nothing is said.
    """
    scores = np.zeros(sums.shape)
    scores[:, : objects.shape[1]] = objects
    return (
        _log_odds(scores.clip(LEAST_OBJECT, MOST)) - _log_odds(LEAST_OBJECT),
        _log_odds(sums.clip(LEAST_PICTURE, MOST)) - _log_odds(LEAST_PICTURE),
    )


def probabilities(table: Table, objects: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return how sure each picture is of each general label: float64 [T, K], see `evidence`."""
    of_objects, of_pictures = evidence(objects, sums)
    constant, by_object, by_picture = table.both
    logits = constant + by_object * of_objects + by_picture * of_pictures
    alone = table.pictures[0] + table.pictures[1] * of_pictures
    logits[:, table.kinds :] = alone[:, table.kinds :]
    sure = 1 / (1 + np.exp(-logits))
    sure[~is_said(of_objects, of_pictures, table.kinds)] = 0
    return sure


def is_said(of_objects: np.ndarray, of_pictures: np.ndarray, kinds: int) -> np.ndarray:
    """Tell of which labels a network says enough for them to count: bool [T, K], of `evidence`.

    kinds: how many of them, the first ones, the detector knows.
    """
    least_object, least_picture = _log_odds(LEAST_OBJECT), _log_odds(LEAST_PICTURE)
    said: np.ndarray = of_objects >= _log_odds(LEAST_EVIDENCE) - least_object
    said |= of_pictures >= _log_odds(LEAST_EVIDENCE) - least_picture
    alone = of_pictures[:, kinds:]
    said[:, kinds:] = alone >= _log_odds(LEAST_ALONE) - least_picture
    return said


def seen(table: Table, objects: np.ndarray, pictures: np.ndarray, sums: np.ndarray) -> list[Tag]:
    """Return the labels of some pictures, the surest first, general ones before fine ones.

    objects: [T, O]; pictures: [T, 1000]; sums: of these, [T, K], see `summed`.
    """
    sure = probabilities(table, objects, sums)
    tags = surest(table.general, sure, SEEN_SHARE)
    fine: dict[str, Tag] = {}
    for number in np.flatnonzero(surely(sure, SEEN_SHARE) > 0):
        columns = np.flatnonzero(table.classes[number] & table.is_fine)
        shares = pictures[:, columns] / np.maximum(sums[:, number : number + 1], MOST * 1e-6)
        names = [table.fine[column] for column in columns]
        for tag in surest(names, sure[:, number : number + 1] * shares, SEEN_SHARE):
            if tag.label not in fine or tag.score > fine[tag.label].score:
                fine[tag.label] = tag
    return sorted([*tags, *fine.values()], key=lambda tag: -tag.score)


def surest(labels: Sequence[str], sure: np.ndarray, share: float, support: int = 3) -> list[Tag]:
    """Return the labels of some rows that are anything but 0: [T, K], and by which rows."""
    scores = surely(sure, share)
    tags = []
    for number in np.flatnonzero(scores > 0).tolist():
        best = np.argsort(-sure[:, number], kind="stable")[:support]
        rows = tuple(sorted(int(row) for row in best if sure[row, number] > 0))
        tags.append(Tag(labels[number], float(scores[number]), rows))
    return tags


def surely(sure: np.ndarray, share: float) -> np.ndarray:
    """Return as how sure a share of the rows are: [T, K] -> [K]; 0 without rows."""
    if not len(sure):
        return np.zeros(sure.shape[1])
    needed = min(len(sure), max(LEAST, ceil(share * len(sure))))
    scores: np.ndarray = np.sort(sure, axis=0)[-needed]
    return scores


def _log_odds(p: np.ndarray | float) -> np.ndarray:
    odds: np.ndarray = np.log(np.divide(p, np.subtract(1, p)))
    return odds
