"""How sentiment is said in few words: in tables, in subtitles and on pictures."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import floor, inf
from typing import Any

from vmm_cli.output.subtitles import Cue

# Why nothing is known from some evidence; see `vmm_cli.analysis.sentiment.evidence.MISSING`.
REASONS = {
    "no_video": "no pictures",
    "no_face": "no face",
    "no_audio": "no sound",
    "no_speech": "no speech",
    "no_text": "no words",
    "no_feeling": "words without feeling",
    "other_language": "another language",
    "not_installed": "recogniser not installed",
    "unusable": "recogniser unusable",
    "too_weak": "too little",
    "past_end": "ends before",
    "absent": "not there",
}
NO_EVIDENCE = "no evidence"  # where nothing is known: not even that it is neutral
UNSURE = "(unsure)"
SHORTEST_BETWEEN_S = 0.5  # what stands between words for less is a flash
MOST_CHANGE = 0.2  # of valence within a subtitle: less is not worth a new one

Point = Mapping[str, Any]


def valence_text(valence: float) -> str:
    """Return a valence with its sign.

    >>> valence_text(0.416), valence_text(-0.001)
    ('+0.42', '+0.00')
    """
    return f"{round(valence, 2) + 0.0:+.2f}"


def dominant(point: Point) -> str | None:
    """Return the likeliest emotion of a point of the curve; None where it has none."""
    emotions = point["emotions"]
    return max(emotions, key=emotions.__getitem__) if emotions else None


def missing_words(record: Mapping[str, Any]) -> dict[str, str]:
    """Return by kind of evidence why nothing is known from it."""
    return {kind: REASONS[why["code"]] for kind, why in record["missing"].items()}


def span_of(point: Point, start_s: float, every_s: float) -> tuple[float, float]:
    """Return from when to when the step lasts whose middle a point of the curve is.

    Steps follow each other from `start_s`; the last one can be shorter than `every_s`.

    >>> span_of({"time_s": 2.5}, 0, 1), span_of({"time_s": 3.1}, 0, 1)
    ((2.0, 3.0), (3.0, 3.2))
    """
    time_s = float(point["time_s"])
    # Times are rounded: that of a step of a millisecond can be where it begins, or just before.
    begin_s = start_s + floor((time_s - start_s) / every_s + 1e-6) * every_s
    return begin_s, 2 * time_s - begin_s


def follows(before: Point, point: Point, every_s: float) -> bool:
    """Tell whether a point is that of the next step: nothing is left out between them."""
    return float(point["time_s"] - before["time_s"]) < 1.25 * every_s


def cues(
    record: Mapping[str, Any], start_s: float, every_s: float, least_confidence: float = 0.0
) -> Iterator[Cue]:
    """Yield a cue for each stretch in which one emotion leads and valence hardly changes.

    A cue says the mean valence and the emotion, and where the mean confidence is measured and below
    `least_confidence`, that they are unsure; where nothing is known there is none. Where the
    record has a transcript its words are cues, with valence and emotion in a second line, and the
    others are for the times between them, where these are long enough to be read. start_s, every_s:
    where the steps of the curve begin, and their length.
    """
    curve: Sequence[Point] = record["curve"]
    words = [part for part in record.get("transcript", ()) if part["source"] != "title"]
    yield from _word_cues(curve, words, every_s, least_confidence)
    between = _Between(words)
    for stretch in _stretches(curve, between, every_s):
        begin_s, _ = span_of(stretch[0], start_s, every_s)
        _, end_s = span_of(stretch[-1], start_s, every_s)
        after_s, until_s = between.bounds(stretch[0]["time_s"])
        begin_s, end_s = max(begin_s, after_s), min(end_s, until_s)
        if not words or end_s - begin_s >= min(SHORTEST_BETWEEN_S, every_s) - 1e-6:
            yield Cue(begin_s, end_s, _feeling(stretch, least_confidence))


def _word_cues(
    curve: Sequence[Point],
    words: Iterable[Mapping[str, Any]],
    every_s: float,
    least_confidence: float,
) -> Iterator[Cue]:
    """Yield the words with what is known of the steps that they take part in."""
    times = [point["time_s"] for point in curve]
    for part in words:
        first = bisect_right(times, part["start_s"] - every_s / 2)
        last = bisect_left(times, part["end_s"] + every_s / 2)
        feeling = _feeling(curve[first:last], least_confidence)
        yield Cue(part["start_s"], part["end_s"], part["text"], feeling)


class _Between:
    """Tells which times lie between words."""

    def __init__(self, words: Iterable[Mapping[str, Any]]) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        for part in sorted(words, key=lambda part: part["start_s"]):
            if self._ends and part["start_s"] <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], part["end_s"])
            else:
                self._starts.append(part["start_s"])
                self._ends.append(part["end_s"])

    def holds(self, time_s: float) -> bool:
        """Tell whether no words are there at a time."""
        after_s, _ = self.bounds(time_s)
        return after_s <= time_s

    def bounds(self, time_s: float) -> tuple[float, float]:
        """Return the end of the words that began last before a time, the start of the next."""
        place = bisect_right(self._starts, time_s)
        after_s = self._ends[place - 1] if place else -inf
        return after_s, self._starts[place] if place < len(self._starts) else inf


def _stretches(
    curve: Iterable[Point], between: _Between, every_s: float
) -> Iterator[Sequence[Point]]:
    """Yield the runs of points, without words, in which one emotion leads and little changes."""
    stretch: list[Point] = []
    low = high = 0.0  # of the valences in it
    for point in curve:
        if not between.holds(point["time_s"]):
            continue
        valence = float(point["valence"])
        low, high = min(low, valence), max(high, valence)
        if stretch and not (
            follows(stretch[-1], point, every_s)
            and between.bounds(stretch[-1]["time_s"]) == between.bounds(point["time_s"])
            and dominant(stretch[-1]) == dominant(point)
            and high - low <= MOST_CHANGE
        ):
            yield stretch
            stretch = []
        if not stretch:
            low = high = valence
        stretch.append(point)
    if stretch:
        yield stretch


def _feeling(points: Sequence[Point], least_confidence: float) -> str:
    """Return the mean valence of some points, the emotion that leads most, and if it is unsure."""
    if not points:
        return ""
    mean = sum(point["valence"] for point in points) / len(points)
    leaders = [leader for point in points if (leader := dominant(point)) is not None]
    leader = max(dict.fromkeys(leaders), key=leaders.count, default=None)
    measured = [sure for point in points if (sure := point.get("confidence")) is not None]
    is_unsure = bool(measured) and sum(measured) / len(measured) < least_confidence
    return " ".join(filter(None, (valence_text(mean), leader, UNSURE if is_unsure else None)))
