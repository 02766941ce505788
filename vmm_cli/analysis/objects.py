"""What is in a video and when: objects of single pictures, followed and named over several.

One smeared picture names nothing: what is told was followed, two pictures at least are sure of its
label, and all of them name it together (`features.tracks.named`). A picture that is more than a
second away from the others, as in a slide show, speaks for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from vmm_cli.analysis.segmentation import Segmentation
from vmm_cli.analysis.stretches import stretches
from vmm_cli.bundles import Bundle
from vmm_cli.digits import SCORE_DIGITS, TIME_DIGITS
from vmm_cli.features import objects
from vmm_cli.features.boxes import suppress
from vmm_cli.features.poses import PERSON
from vmm_cli.features.sightings import Sightings
from vmm_cli.features.tracks import Following, Tracker, by_frequency, named
from vmm_cli.features.values import Sets

MIN_SCORE = 0.45  # below it blurred pictures of one thing are often named as another
UNSURE_SCORE = 0.2  # from which on a box goes on with a track
LEAST_SEEN = 2  # pictures
LOST_S = 2.0  # for how long something may be out of sight
LONGEST_STEP_S = 1.0  # between pictures through which something is followed
# Two boxes are of one object where they share more of their union, or, of one label, of the
# smaller one.
ONE_OBJECT, WITHIN = 0.8, 0.9

BOX_DIGITS = 4  # of shares of the picture: a tenth of a pixel of 1000


@dataclass(frozen=True)
class Wanted:
    """Which objects count: their labels, None for all, and how sure they are at least."""

    labels: tuple[str, ...] | None = None
    min_score: float = MIN_SCORE


@dataclass(frozen=True, slots=True)
class Shown:
    """A video as it is shown: its length, where the wanted part ends, the picture in pixels."""

    duration_s: float
    until_s: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One object in one picture.

    Attributes:
        time_s: of the picture.
        label: what it is, by all its pictures.
        score: of the box in this picture, whatever it is called there, from 0 to 1.
        box: x, y, width and height in shares of the displayed picture's width and height.
        track: the same for one object in several pictures, 0 for the one seen longest; None where
            nothing is followed.
        pose: of a person whose pose was read, 17 points of x, y and score each.
    """

    time_s: float
    label: str
    score: float
    box: tuple[float, ...]
    track: int | None
    pose: tuple[tuple[float, ...], ...] | None

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types, without what is not known."""
        record: dict[str, Any] = {
            "time_s": round(self.time_s, TIME_DIGITS),
            "label": self.label,
            "score": round(self.score, SCORE_DIGITS),
            "box": [round(value, BOX_DIGITS) for value in self.box],
        }
        if self.track is not None:
            record["track"] = self.track
        if self.pose is not None:
            record["pose"] = [
                [round(x, BOX_DIGITS), round(y, BOX_DIGITS), round(score, SCORE_DIGITS)]
                for x, y, score in self.pose
            ]
        return record


@dataclass(frozen=True, eq=False)
class Told:
    """What was found, N objects, made when it is asked for: some 50 bytes of each are kept.

    Attributes:
        times_s: of the pictures.
        labels: of the model.
        picture: int [N], ascending, in which each is.
        label: int [N]; score: float [N]; box: float [N, 4]; track: int [N], -1: of none.
        place: int [N], the number of each among all objects of its picture, as `poses` has it.
        poses: see `Sightings`.
    """

    times_s: np.ndarray
    labels: Sequence[str]
    picture: np.ndarray
    label: np.ndarray
    score: np.ndarray
    box: np.ndarray
    track: np.ndarray
    place: np.ndarray
    poses: Sets | None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.picture)

    def __iter__(self) -> Iterator[Seen]:
        """Yield all, by time, the best of a picture first."""
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, i: int) -> Seen: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[Seen, ...]: ...

    def __getitem__(self, i: int | slice) -> Seen | tuple[Seen, ...]:
        """Return one, or some. IndexError: there are not so many."""
        if isinstance(i, slice):
            return tuple(self[j] for j in range(*i.indices(len(self))))
        label, track = self.labels[self.label[i]], int(self.track[i])
        person = label == PERSON
        return Seen(
            float(self.times_s[self.picture[i]]),
            label,
            float(self.score[i]),
            tuple(map(float, self.box[i])),
            track if track >= 0 else None,
            _pose(self.poses, int(self.picture[i]), int(self.place[i])) if person else None,
        )

    def __repr__(self) -> str:
        return f"Told({len(self)} objects)"

    def times_and_labels(self) -> Iterator[tuple[float, str]]:
        """Yield the time and the label of all."""
        for picture, label in zip(self.picture.tolist(), self.label.tolist(), strict=True):
            yield float(self.times_s[picture]), self.labels[label]


@dataclass(frozen=True, eq=False)
class Rows:
    """Objects as a record has them, made one by one."""

    told: Told

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.told)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all."""
        return (one.to_record() for one in self.told)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Return one. IndexError: there are not so many."""
        return self.told[i].to_record()


@dataclass(frozen=True)
class Summary:
    """How much of one label was seen.

    Attributes:
        most: how many at once.
        share: of the time that was looked at.
        first_s, last_s: when first and last.
        tracks: how many different ones, as far as they were followed; None: nothing was.
    """

    label: str
    most: int
    share: float
    first_s: float
    last_s: float
    tracks: int | None

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "label": self.label,
            "most_at_once": self.most,
            "share_of_time": round(self.share, SCORE_DIGITS),
            "first_s": round(self.first_s, TIME_DIGITS),
            "last_s": round(self.last_s, TIME_DIGITS),
            "tracks": self.tracks,
        }


@dataclass(frozen=True, eq=False)
class ObjectsFound:
    """What was found in one video.

    Attributes:
        duration_s: of the video.
        model, version: what found it.
        until_s: where the wanted part ends.
        times_s: of the pictures that were looked at.
        width, height: of the displayed picture, pixels.
        summary: of each label that was seen, the one seen in most pictures first.
        objects: by time, the best of a picture first.
        segmentation: which parts of the pictures show what; None: nobody asked.
        in_rows: whether a record has its objects as `Rows`, for who writes them into a file.
    """

    duration_s: float
    model: str
    version: int
    until_s: float
    times_s: Sequence[float]
    width: int
    height: int
    summary: Sequence[Summary]
    objects: Told
    segmentation: Segmentation | None = None
    in_rows: bool = False

    def to_record(self) -> dict[str, Any]:
        """Return the record's own fields, as JSON types but for `Rows`."""
        rows = Rows(self.objects)
        record: dict[str, Any] = {
            "duration_s": round(self.duration_s, TIME_DIGITS),
            "model": {"name": self.model, "version": self.version},
            "until_s": round(self.until_s, TIME_DIGITS),
            "width": self.width,
            "height": self.height,
            "times_s": [round(time_s, TIME_DIGITS) for time_s in self.times_s],
            "summary": [one.to_record() for one in self.summary],
            "timeline": [
                {
                    "start_s": round(start_s, TIME_DIGITS),
                    "end_s": round(end_s, TIME_DIGITS),
                    "counts": dict(counts),
                }
                for start_s, end_s, counts in stretches(
                    self.times_s, self.until_s, self.objects.times_and_labels()
                )
            ],
            "objects": rows if self.in_rows else list(rows),
        }
        if self.segmentation is not None:
            record["segmentation"] = self.segmentation.to_record()
        return record

    def __repr__(self) -> str:
        seen = ", ".join(f"{one.most} {one.label}" for one in self.summary)
        return f"ObjectsFound({seen or 'nothing'} in {len(self.times_s)} pictures)"


def objects_found(seen: Sightings, model: Bundle, wanted: Wanted, shown: Shown) -> ObjectsFound:
    """Return what a video shows.

    Args:
        seen: in its pictures, by time.
        model: that found the objects.
        wanted: what counts.
        shown: the video.
    """
    times = seen.objects.times
    picture, place, rows = _rows(seen.objects, min(UNSURE_SCORE, wanted.min_score))
    label, score = rows[:, objects.LABEL].astype(int), rows[:, objects.SCORE]
    track = _followed(times, picture, rows, wanted.min_score)
    kept = score >= wanted.min_score
    names = named(track, label, score, wanted.min_score)
    followed = track >= 0
    kept[followed] = names.agreed[track[followed]] >= LEAST_SEEN
    kept[~followed] &= alone(times)[picture[~followed]]
    label[followed] = names.labels[track[followed]]
    if wanted.labels is not None:
        kept &= np.isin(label, [model.labels.index(name) for name in wanted.labels])
    track = by_frequency(np.where(kept, track, -1), 1)
    boxes = rows[:, objects.BOX]
    told = Told(
        times,
        model.labels,
        picture[kept],
        label[kept],
        score[kept],
        boxes[kept],
        track[kept],
        place[kept],
        seen.poses,
    )
    return ObjectsFound(
        shown.duration_s,
        model.name,
        model.version,
        shown.until_s,
        times.tolist(),
        shown.width,
        shown.height,
        _summary(told, shown.until_s),
        told,
    )


def alone(times: np.ndarray) -> np.ndarray:
    """Tell which pictures have no other near enough to follow something: float [T] -> bool [T]."""
    far = np.diff(times) > LONGEST_STEP_S
    lonely: np.ndarray = np.concatenate([[True], far]) & np.concatenate([far, [True]])
    return lonely[: len(times)]


def _rows(found: Sets, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return in which picture each object is, its number there, and its row: [N], [N], [N, 6].

    Those of a score from `least` on. Of two boxes of one object the better one stays.
    """
    pictures, places = [np.empty(0, int)], [np.empty(0, int)]
    rows = [np.empty((0, len(objects.COLUMNS)), np.float32)]
    for i in range(len(found)):
        here = found.at(i)
        kept = np.flatnonzero(here[:, objects.SCORE] >= least)
        kept = kept[suppress(_corners(here[kept]), here[kept, objects.SCORE], ONE_OBJECT)]
        apart = _corners(here[kept]) + 2 * here[kept, objects.LABEL, None]  # so labels don't meet
        kept = kept[suppress(apart, here[kept, objects.SCORE], WITHIN, by_smaller=True)]
        pictures.append(np.full(len(kept), i))
        places.append(kept)
        rows.append(here[kept])
    return np.concatenate(pictures), np.concatenate(places), np.concatenate(rows)


def _corners(rows: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom of objects: [n, 6] -> [n, 4]."""
    boxes = rows[:, objects.BOX]
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _followed(
    times: np.ndarray, picture: np.ndarray, rows: np.ndarray, min_score: float
) -> np.ndarray:
    """Return of which track each object is, -1 where nothing is followed: int64 [N]."""
    tracker = Tracker(Following(lost_s=LOST_S, begins_from=min_score, moves=True))
    bounds = np.searchsorted(picture, np.arange(len(times) + 1))
    tracks = [np.empty(0, int)]
    lonely = alone(times)
    for time_s, first, last, is_alone in zip(times, bounds[:-1], bounds[1:], lonely, strict=True):
        here = rows[first:last]
        if is_alone:
            tracks.append(np.full(len(here), -1))
            continue
        tracks.append(tracker.take(float(time_s), _corners(here), here[:, objects.SCORE]))
    return np.concatenate(tracks)


def _pose(found: Sets | None, picture: int, place: int) -> tuple[tuple[float, ...], ...] | None:
    """Return the pose that was read of an object; None where there is none."""
    if found is None:
        return None
    here = found.at(picture)
    (which,) = np.nonzero(here[:, 0] == place)
    if not len(which):
        return None
    points = here[which[0], 1:].reshape(-1, 3)
    return tuple(tuple(map(float, point)) for point in points)


def _summary(told: Told, until_s: float) -> list[Summary]:
    """Return how much of each label was seen, the one seen longest first."""
    times = told.times_s
    lengths = np.diff([*times, max(until_s, times[-1] if len(times) else 0.0)])
    summary = [_summed(told, label, lengths) for label in np.unique(told.label)]
    return sorted(summary, key=lambda one: (-one.share, -one.most, one.label))


def _summed(told: Told, label: int, lengths: np.ndarray) -> Summary:
    """Return how much of a label was seen; lengths: for how long each picture is, [T]."""
    here = told.label == label
    pictures, at_once = np.unique(told.picture[here], return_counts=True)
    tracks = np.unique(told.track[here])
    whole = float(lengths.sum())
    share = float(lengths[pictures].sum()) / whole if whole else len(pictures) / len(lengths)
    first_s, last_s = (float(told.times_s[pictures[end]]) for end in (0, -1))
    count = None if tracks[0] < 0 else len(tracks)
    return Summary(told.labels[label], int(at_once.max()), share, first_s, last_s, count)
