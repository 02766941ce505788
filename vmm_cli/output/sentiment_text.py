"""How sentiment is said in few words: in tables, in subtitles and on pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor
from typing import Any

from vmm_cli.output.subtitles import Cue

# Why nothing is known from some evidence; see `vmm_cli.analysis.evidence.MISSING`.
REASONS = {
    "no_video": "no pictures",
    "no_face": "no face",
    "no_audio": "no sound",
    "no_speech": "no speech",
    "no_text": "no words",
    "other_language": "another language",
    "not_installed": "recogniser not installed",
    "unusable": "recogniser unusable",
    "too_weak": "too little",
    "past_end": "ends before",
    "absent": "not there",
}
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


def cues(record: Mapping[str, Any], start_s: float, every_s: float) -> Iterator[Cue]:
    """Yield a cue for each stretch in which one emotion leads and valence hardly changes.

    A cue says the mean valence and the emotion; where nothing is known there is none. start_s,
    every_s: where the steps of the curve begin, and their length.
    """
    stretch: list[Point] = []
    low = high = 0.0  # of the valences in it
    for point in record["curve"]:
        valence = float(point["valence"])
        low, high = min(low, valence), max(high, valence)
        if stretch and not (
            follows(stretch[-1], point, every_s)
            and dominant(stretch[-1]) == dominant(point)
            and high - low <= MOST_CHANGE
        ):
            yield _cue(stretch, start_s, every_s)
            stretch = []
        if not stretch:
            low = high = valence
        stretch.append(point)
    if stretch:
        yield _cue(stretch, start_s, every_s)


def _cue(stretch: Sequence[Point], start_s: float, every_s: float) -> Cue:
    mean = sum(point["valence"] for point in stretch) / len(stretch)
    words = filter(None, (valence_text(mean), dominant(stretch[0])))
    begin_s, _ = span_of(stretch[0], start_s, every_s)
    _, end_s = span_of(stretch[-1], start_s, every_s)
    return Cue(begin_s, end_s, " ".join(words))
