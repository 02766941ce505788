"""Look into the files of a data set: can they be read, how long are they, which are equal?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from vmm_cli.batch.gather import gather
from vmm_cli.batch.tally import Standing
from vmm_cli.errors import DataError, InputError
from vmm_cli.media.video import Video
from vmm_cli.training.data.samples import (
    SPLITS,
    DataSet,
    Problem,
    Problems,
    Sample,
    Segment,
    in_order,
    label_counts,
    nothing_left,
    with_samples,
    with_segments,
)
from vmm_cli.training.data.splits import with_folds_of_negatives

# Probing reads headers and one picture; minutes mean a demuxer that does not come back.
LOOK_LIMIT_S = 120.0
# Annotations round to tenths, and containers state durations a frame long or short.
ROUNDING_S = 0.1
# An action that ends after twice the duration is no slip of the hand.
FAR_BEYOND = 2
MOST_NAMED = 10  # of equal files, and of their labels, in one message


@dataclass(frozen=True)
class Look:
    """What was seen of one file.

    Attributes:
        duration_s: seconds; None where the file does not tell.
        content: see `identity.FileIdentity`.
        remark: what the user should know though the file can be used.
        frame_rate: pictures a second, on average; None where there are none or it is not told.
    """

    duration_s: float | None
    content: str
    remark: str | None = None
    frame_rate: float | None = None


@dataclass(frozen=True)
class Inspection:
    """A data set without what cannot be used, and what its files hold.

    Attributes:
        durations: seconds, by path; None where the file does not tell.
        contents: what stands for the content, by path; equal ones are the same recording.
    """

    dataset: DataSet
    durations: Mapping[Path, float | None]
    contents: Mapping[Path, str]


def inspect(
    dataset: DataSet,
    *,
    jobs: int,
    max_pixels: int,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Inspection:
    """Open each file of a data set once, in `jobs` processes, and list what is wrong.

    Left out: files that cannot be read or have neither picture nor sound, spans that begin after
    the file's end. An end after the file's is moved there. Timed actions are held against the file
    likewise, and a video none of whose actions begins before its end is left out. Equal content in
    two splits or under two labels is listed and stays; a negative whose content has labels too is
    left out. Negatives get folds where the others have some.

    Args:
        on_progress: called with how many files are done, and of how many; each counts alike, as
            little of a file is read, however long it is.

    Raises:
        DataError: not one sample can be used.
    """
    looks = _look_at_all(dataset, jobs, max_pixels, on_progress)
    problems = Problems()
    samples: list[Sample] = []
    for sample in dataset.samples:
        look = looks[sample.path]
        if isinstance(look, Problem):
            problems.append(replace(look, where=sample.name))
        elif (fitted := _fitted(sample, look, problems)) is not None:
            samples.append(fitted)
    seen = {path: look for path, look in looks.items() if isinstance(look, Look)}
    names = {sample.path: sample.name for sample in samples}
    contents = {path: look.content for path, look in seen.items()}
    durations = {path: look.duration_s for path, look in seen.items()}
    samples = _without_labelled_negatives(samples, contents, problems)
    for problem in (
        *_without_pictures(seen, names),
        *_lost_labels(dataset, samples),
        *_equal_content(samples, contents),
    ):
        problems.append(problem)
    kept = with_samples(dataset, samples, dict.fromkeys(problems))
    if not samples:
        raise DataError(nothing_left(dataset.source, kept.problems))
    return Inspection(with_folds_of_negatives(kept, contents, durations), durations, contents)


def look_at(path: Path, max_pixels: int) -> Look:
    """Return what one file holds; runs in a worker.

    Raises:
        InputError: as `Video.info`; `unreadable` too where the file has neither picture nor sound
            that can be decoded.
    """
    video = Video(path, max_pixels)
    content, info = video.identity.content, video.info
    shown = any(stream.decodable for stream in info.video)
    if not shown and not info.audio:
        held = "no picture can be decoded" if info.video else "holds neither picture nor sound"
        raise InputError("unreadable" if info.video else "no_video", held)
    remark = "no picture can be decoded, only its sound is used" if info.video else None
    rates = (stream.frame_rate for stream in info.video if stream.frame_rate)
    return Look(info.duration_s, content, None if shown else remark, next(rates, None))


def _look_at_all(
    dataset: DataSet, jobs: int, max_pixels: int, on_progress: Callable[[Standing], None]
) -> dict[Path, Look | Problem]:
    paths = list(dict.fromkeys(sample.path for sample in dataset.samples))
    calls = [(path, max_pixels) for path in paths]
    limits = [LOOK_LIMIT_S] * len(paths)
    found = gather(look_at, calls, limits, jobs=jobs, on_progress=on_progress)
    return {
        path: look
        if isinstance(look, Look)
        else Problem("error", look.code, str(path), f"{look}; left out")
        for path, look in zip(paths, found, strict=True)
    }


def _fitted(sample: Sample, look: Look, problems: Problems) -> Sample | None:
    """Return the sample with its times inside the file; None where there is nothing of it."""
    duration_s = look.duration_s
    if not duration_s:  # no file lasts no time
        return sample
    if sample.segments:
        return _fitted_segments(sample, sample.segments, duration_s, look.frame_rate, problems)
    if _begins_late(sample.start_s, duration_s):
        message = f"starts at {sample.start_s:g} s, but the file ends at {duration_s:.2f} s"
        problems.append(Problem("error", "times", sample.name, f"{message}; left out"))
        return None
    if sample.end_s is not None and sample.end_s > duration_s + ROUNDING_S:
        message = f"ends at {sample.end_s:g} s, but the file at {duration_s:.2f} s; cut there"
        problems.append(Problem("warning", "times", sample.name, message))
        return replace(sample, end_s=None)
    return sample


def _fitted_segments(
    sample: Sample,
    segments: Sequence[Segment],
    duration_s: float,
    frame_rate: float | None,
    problems: Problems,
) -> Sample | None:
    """Return the sample with what of its segments is inside; None where all begin after the end."""
    inside = [segment for segment in segments if not _begins_late(segment.start_s, duration_s)]
    if not inside:
        message = f"all of its actions begin after its end at {duration_s:.2f} s; left out"
        hint = _frames_hint(segments, duration_s, frame_rate)
        hint = hint or "are its times in seconds, and of this file?"
        problems.append(Problem("error", "no_segment", sample.name, f"{message}; {hint}"))
        return None
    for segment in in_order(set(segments) - set(inside)):
        message = f"{_said(segment)} begins after the file's end at {duration_s:.2f} s; dropped"
        problems.append(Problem("error", "times", sample.name, message))
    kept = []
    for segment in inside:
        if segment.end_s > duration_s + ROUNDING_S:
            message = f"{_said(segment)} ends after the file's end at {duration_s:.2f} s; cut there"
            problems.append(Problem("warning", "times", sample.name, message))
            segment = replace(segment, end_s=duration_s)
        kept.append(segment)
    if (hint := _frames_hint(segments, duration_s, frame_rate)) is not None:
        problems.append(Problem("warning", "frame_numbers", sample.name, hint))
    # Two that differed only beyond the end are one.
    return with_segments(sample, dict.fromkeys(kept))


def _begins_late(start_s: float, duration_s: float) -> bool:
    return start_s > 0 and start_s >= duration_s - ROUNDING_S / 2


def _said(segment: Segment) -> str:
    return f"{segment.label!r} from {segment.start_s:g} to {segment.end_s:g} s"


def _frames_hint(
    segments: Sequence[Segment], duration_s: float, frame_rate: float | None
) -> str | None:
    """Say that times look like frame numbers: half of them or more lie far beyond the end."""
    far = sum(segment.end_s > FAR_BEYOND * duration_s for segment in segments)
    last = max(segment.end_s for segment in segments)
    if not frame_rate or 2 * far < len(segments) or last / frame_rate > duration_s + ROUNDING_S:
        return None
    return f"its times look like frame numbers: divide them by {frame_rate:g} to get seconds"


def _without_pictures(looks: Mapping[Path, Look], names: Mapping[Path, str]) -> Iterator[Problem]:
    for path, look in looks.items():
        if look.remark and path in names:
            yield Problem("warning", "no_picture", names[path], look.remark)


def _lost_labels(dataset: DataSet, samples: Sequence[Sample]) -> Iterator[Problem]:
    left = label_counts(samples)
    for label in dataset.labels:
        if label not in left:
            message = f"no {dataset.kind.unit} with this label can be used; the label is left out"
            yield Problem("error", "label_lost", label, message)


# --- equal content ------------------------------------------------------------------------------


def _without_labelled_negatives(
    samples: Sequence[Sample], contents: Mapping[Path, str], problems: Problems
) -> list[Sample]:
    """Return samples without the negatives that show what others that are none show."""
    others: defaultdict[str, list[Sample]] = defaultdict(list)
    if any(sample.negative for sample in samples):
        for sample in samples:
            if not sample.negative:
                others[contents[sample.path]].append(sample)
    kept = []
    for sample in samples:
        same = others.get(contents[sample.path], ()) if sample.negative else ()
        twin = next((other for other in same if _share_time(sample, other)), None)
        if twin is None:
            kept.append(sample)
            continue
        labelled = "|".join(twin.labels) or "without any action"
        message = f"is a negative, and the same content is in the data as {twin.name} ({labelled})"
        message += "; the negative is left out"
        problems.append(Problem("error", "labelled_negative", sample.name, message))
    return kept


def _share_time(a: Sample, b: Sample) -> bool:
    """Tell whether two samples of one recording share time."""
    a_end, b_end = (math.inf if s.end_s is None else s.end_s for s in (a, b))
    return a.start_s < b_end and b.start_s < a_end


def _equal_content(samples: Sequence[Sample], contents: Mapping[Path, str]) -> Iterator[Problem]:
    """Yield what is wrong with samples that show the same.

    Spans of one recording in two splits are told too: less is leaked than by the same span, but
    scene and people are the same.
    """
    alike: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        alike[contents[sample.path]].append(sample)
    for same in alike.values():
        if len(same) > 1:
            yield from _across_splits(same)
            yield from _equal_spans(same)


def _across_splits(same: Sequence[Sample]) -> Iterator[Problem]:
    first: dict[str, Sample] = {}
    for sample in same:
        if sample.split is not None:
            first.setdefault(sample.split, sample)
    if len(first) > 1:
        places = " and ".join(f"{first[s].name} in {s}" for s in SPLITS if s in first)
        message = f"the same recording: {places}; what is measured there will look too good"
        yield Problem("error", "across_splits", next(iter(first.values())).name, message)


def _equal_spans(same: Sequence[Sample]) -> Iterator[Problem]:
    def span(place: int) -> tuple[float, float]:
        end_s = same[place].end_s
        return same[place].start_s, math.inf if end_s is None else end_s

    # Sorted, as a table of all spans would take more memory than the samples.
    places = sorted(range(len(same)), key=span)
    alike = (tuple(equal) for _, equal in groupby(places, key=span))
    for equal in sorted(equal for equal in alike if len(equal) > 1):
        found = [same[place] for place in equal]
        names = _listed(dict.fromkeys(sample.name for sample in found))
        labels = sorted({"|".join(sample.labels) for sample in found if sample.labels})
        if len({sample.segments for sample in found}) > 1:
            message = f"the same recording with other actions: {names}"
            yield Problem("error", "other_actions", found[0].name, message)
        elif len(labels) > 1:
            told = _listed(labels)
            message = f"the same content under {_number(len(labels))} labels, {told}: {names}"
            yield Problem("error", "two_labels", found[0].name, message)
        elif len({sample.valence for sample in found} - {None}) > 1:
            message = f"the same content with other valences: {names}"
            yield Problem("error", "two_valences", found[0].name, message)
        else:
            message = f"the same content {len(found)} times: {names}; it counts as often"
            yield Problem("warning", "duplicate", found[0].name, message)


def _listed(names: Iterable[str]) -> str:
    """Return names for a message, the first ones of many."""
    found = [*names]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return " and ".join(found[:MOST_NAMED]) + more


def _number(number: int) -> str:
    return "two" if number == 2 else str(number)
