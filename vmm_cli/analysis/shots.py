"""Shots: where one camera's picture gives way to another's, at once or bit by bit.

Pictures are compared by `novelty`: what cannot be found nearby in the other picture, whatever moves
and however the light changes.

- A hard cut: much more is new from one picture to the next than from picture to picture around, and
  still is between pictures a little further off, which after a flash or a damaged one it is not.
- A gradual transition (a dissolve, a wipe): between two pictures some way apart nearly all is new,
  and each place went there straight from the one colour to the other, as it does not where
  something moves through.
- Blank pictures (black, white) with something else after than before: a fade, or a pause.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product, takewhile
from operator import attrgetter
from statistics import median_low

import numpy as np

from vmm_cli.analysis.frame_difference import View, novelty, novelty_in_any_light
from vmm_cli.media import sampling
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.miniatures import Miniature, iter_miniatures
from vmm_cli.media.video import Video

# Thresholds were chosen on other films than those that `benchmarks/shots.py` renders.

MIN_SHOT_S = 0.3  # what is over sooner is taken for a flash or for part of a transition

SURELY_ALIKE = 0.15
CUT_NOVELTY = 0.22  # at a cut in a film where nothing moves
CUT_OVER_AROUND = 1.25  # and so many times what is new around more
AROUND_S = 0.4
AROUND_PICTURES = 6  # at least, on each side
AROUND_QUANTILE = 0.8  # other cuts nearby do not count
FLASH_S = 0.2

SPANS_S = (0.8, 1.6)  # over which a transition is looked for; of longer ones most is seen
LOOK_EVERY_S = 0.08
SAME_S = 0.4  # between the middles that two looks see of one transition, at most
SPAN_STEPS = 6  # in which a place's colour is followed
GRADUAL_SCORE = 0.62  # novelty times straightness
STEPS_NOVELTY = 0.9  # of all steps together

BLANK_MAX_S = 2.0  # what is blank for longer is a shot of its own
BLANK_NOVELTY = 0.45
FADE_S = 0.6  # before and after blank pictures, in which others go dark or come up
SETTLED = 0.8  # of the contrast before the fade, or after it

REACH_S = max(SPANS_S) / 2 + FADE_S  # of what is looked at in one go


@dataclass(frozen=True, slots=True)
class Shot:
    """What is shown without a cut, from start_s up to end_s: seconds on the video's clock."""

    start_s: float
    end_s: float


def find_shots(video: Video) -> list[Shot]:
    """Return the shots of the wanted part of a video, in order.

    They abut, and last from the first picture to the end of the last one; none where the range
    holds no picture. After a hard cut a shot begins with its first picture, after a gradual
    transition in the middle of it. Of a damaged file come the shots of what can be decoded.

    Raises:
        InputError: as `iter_frames`.
    """
    report = DecodeReport()
    wanted = sampling.all(start=video.start, end=video.end)
    pictures = iter_miniatures(video, wanted, report=report)
    first = next(pictures, None)
    if first is None:
        return []
    cuts = sorted(find_cuts(_with_first(first, pictures)))
    assert report.end_s is not None  # the pictures have been read to their end
    until = report.end_s if video.end is None else min(report.end_s, float(video.end))
    bounds = [first.time_s]
    for cut in cuts:
        if cut - bounds[-1] >= MIN_SHOT_S and until - cut >= MIN_SHOT_S:
            bounds.append(cut)
    return [Shot(*pair) for pair in pairwise([*bounds, until])]


def _with_first(first: Miniature, rest: Iterator[Miniature]) -> Iterator[Miniature]:
    yield first
    yield from rest


def find_cuts(pictures: Iterable[Miniature]) -> Iterator[float]:
    """Yield the times in seconds at which something else is shown, nearly in order.

    At any time the pictures of a few seconds are kept.
    """
    blank = _Blank()
    gradual = _Gradual()
    for window, at in _sliding(_with_cuts(_changes(pictures)), REACH_S):
        if window[at].cut:
            yield window[at].time_s
        yield from blank.take(window, at)
        yield from gradual.take(window, at)
    yield from blank.finish()
    yield from gradual.finish()


@dataclass(slots=True, eq=False)
class _Step:
    """A picture, what is new in it since the one before, and whether a shot begins with it."""

    view: View
    change: float
    cut: bool = False

    @property
    def time_s(self) -> float:
        return self.view.time_s


def _changes(pictures: Iterable[Miniature]) -> Iterator[_Step]:
    before: View | None = None
    for picture in pictures:
        view = View(picture, None if before is None else before.lit)
        change = 0.0 if before is None else novelty(before, view, alike=SURELY_ALIKE)
        yield _Step(view, change)
        before = view


def _sliding(
    steps: Iterable[_Step], reach_s: float, least: int = 0
) -> Iterator[tuple[list[_Step], int]]:
    """Yield each step as its place in a list of those around it, which changes later.

    Around are those up to `reach_s` away and at least `least` on each side, where there are any.
    """
    source = iter(steps)
    window = [step for step in [next(source, None)] if step is not None]
    at = 0
    while at < len(window):
        here = window[at].time_s
        while window[-1].time_s <= here + reach_s or len(window) - 1 - at <= least:
            following = next(source, None)
            if following is None:
                break
            window.append(following)
        yield window, at
        at += 1
        while at > least + 1 and window[0].time_s < here - reach_s:
            del window[0]
            at -= 1


def _with_cuts(steps: Iterable[_Step]) -> Iterator[_Step]:
    """Yield the steps again, with the hard cuts marked."""
    for window, at in _sliding(steps, AROUND_S, AROUND_PICTURES):
        window[at].cut = _is_cut(window, at)
        yield window[at]


def _is_cut(window: Sequence[_Step], at: int) -> bool:
    here = window[at]
    if at == 0 or here.change < CUT_NOVELTY:
        return False
    if here.view.blank or window[at - 1].view.blank:
        return False  # see _Blank
    around = [step.change for step in window if step is not here]
    usual = float(np.quantile(around, AROUND_QUANTILE))
    needed = CUT_NOVELTY + CUT_OVER_AROUND * usual
    if here.change < needed:
        return False
    last = window[at - 1].time_s
    before = [step.view for step in window[at - 1 :: -1] if step.time_s >= last - FLASH_S]
    after = [step.view for step in window[at:] if step.time_s <= here.time_s + FLASH_S]
    if novelty_in_any_light(before[0], after[0]) < needed:
        return False
    pairs = product(_spread(before), _spread(after))
    return all(novelty(*pair, alike=needed) >= needed for pair in pairs)


def _spread(views: Sequence[View]) -> list[View]:
    """Return the first, the middle and the last."""
    return [views[i] for i in sorted({0, len(views) // 2, len(views) - 1})]


class _Blank:
    """Finds blank pictures between two scenes."""

    def __init__(self) -> None:
        self._times: list[float] = []  # of the blank pictures being shown, as far as they matter
        self._last = 0.0
        self._before: View | None = None

    def take(self, window: Sequence[_Step], at: int) -> Iterator[float]:
        """Take the next picture and yield the cuts that it decides."""
        here = window[at]
        self._last = here.time_s
        if here.view.blank:
            if not self._times:
                self._before = _settled(window[:at][::-1])
            if not self._times or here.time_s - self._times[0] <= BLANK_MAX_S:
                self._times.append(here.time_s)
        elif self._times:
            times, self._times = self._times, []
            if here.time_s - times[0] > BLANK_MAX_S:
                if self._before is not None:
                    yield times[0]
                yield here.time_s
            elif self._before is not None:
                after = _settled(window[at:])
                assert after is not None  # here at least
                if novelty_in_any_light(self._before, after) >= BLANK_NOVELTY:
                    yield times[len(times) // 2]

    def finish(self) -> Iterator[float]:
        """Yield the last cut, where the video ends blank."""
        if self._times and self._before is not None and self._last - self._times[0] > BLANK_MAX_S:
            yield self._times[0]


def _settled(steps: Sequence[_Step]) -> View | None:
    """Return the first picture, going away from blank ones, that is no longer part of a fade."""
    if not steps or steps[0].view.blank:
        return None
    near = steps[0].time_s
    shown = list(takewhile(lambda s: not s.view.blank and abs(s.time_s - near) <= FADE_S, steps))
    enough = SETTLED * max(step.view.contrast for step in shown)
    return next(step.view for step in shown if step.view.contrast >= enough)


class _Gradual:
    """Finds gradual transitions: looks that see one nearly at the same time see the same."""

    def __init__(self) -> None:
        self._looked = -np.inf
        self._middles: list[float] = []  # that are seen of one transition

    def take(self, window: Sequence[_Step], at: int) -> Iterator[float]:
        """Look from the next picture, if it is time to, and yield the transition that ended."""
        time_s = window[at].time_s
        if time_s - self._looked < LOOK_EVERY_S:
            return
        self._looked = time_s
        for span_s in SPANS_S:
            middle = _middle_of_transition(_span(window, time_s, span_s))
            if middle is None:
                continue
            if self._middles and abs(middle - self._middles[-1]) > SAME_S:
                yield from self.finish()
            self._middles.append(middle)
            break

    def finish(self) -> Iterator[float]:
        """Yield the transition that was being looked at."""
        if self._middles:
            yield median_low(self._middles)
        self._middles.clear()


def _span(window: Sequence[_Step], middle_s: float, span_s: float) -> Sequence[_Step]:
    """Return the steps of `span_s` seconds; none where a transition cannot be looked for there."""
    begin, end = middle_s - span_s / 2, middle_s + span_s / 2
    first = bisect_left(window, begin, key=attrgetter("time_s"))
    last = bisect_right(window, end, key=attrgetter("time_s")) - 1
    # The span must be whole, and hold a picture for each step.
    if first == 0 or last == len(window) - 1 or last - first < SPAN_STEPS:
        return []
    inside = window[first : last + 1]
    if any(step.cut for step in inside[1:]):
        return []
    fades = any(
        step.view.blank and begin - FADE_S <= step.time_s <= end + FADE_S for step in window
    )
    return [] if fades else inside


def _middle_of_transition(span: Sequence[_Step]) -> float | None:
    """Return when the transition that a span holds is half done; None where it holds none."""
    if not span:
        return None
    places = np.linspace(0, len(span) - 1, SPAN_STEPS + 1).round().astype(int)
    cells = np.array([span[place].view.cells for place in places])
    way = cells[-1] - cells[0]
    path = np.abs(np.diff(cells, axis=0)).sum()
    straightness = float(np.abs(way).sum() / path) if path else 0.0
    if straightness < GRADUAL_SCORE:
        return None
    one, other = span[0].view, span[-1].view
    needed = GRADUAL_SCORE / straightness
    if novelty(one, other, alike=needed) < needed:
        return None
    if novelty_in_any_light(one, other) < needed:
        return None
    views = [span[place].view for place in places]
    if sum(novelty(*pair) for pair in pairwise(views)) < STEPS_NOVELTY:
        return None  # a camera that pans gets far by steps in which little is new
    half = way @ way / 2
    return next(step.time_s for step in span if (step.view.cells - cells[0]) @ way >= half)
