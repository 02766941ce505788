"""What is usual, of videos in which all is: no network, and no labels.

Units that stay together are left out in turn, so that each step of each video is once compared with
what others show. So scores are calibrated, and the threshold is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vmm_cli.errors import DataError
from vmm_cli.inference.usual import (
    LEAST_SPREAD,
    Neighbours,
    Places,
    Tail,
    Usual,
    UsualStream,
    joined_streams,
    raw_scores,
    seen_by,
    smoothed,
)

PARTS = 5  # of the units, each left out in turn
LEAST_STEPS = 10  # of a stream, to know what is usual of it
MOST_STEPS = 20_000  # of them, drawn, that a bank is chosen from
# Stretches of one video are next to each other: what is this near to the one left out is not
# compared with.
GUARD_S = 5.0
# Of the search for components: steps that it looks at, directions besides those wanted, rounds.
COMPONENT_STEPS, OVERSAMPLED, POWER_ITERATIONS = 8192, 16, 2
LEAST_VARIANCE = 1e-4  # of the largest component; below it is noise
SMALL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A video to learn from.

    Attributes:
        values, masks: by stream, float32 [T, D] and bool [T].
        usual: bool [T]: which steps are.
        unit: what it stays together with.
    """

    values: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    usual: np.ndarray
    unit: str

    def only(self, steps: np.ndarray) -> Seen:
        """Return the same with fewer usual steps."""
        return replace(self, usual=self.usual & steps)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """How it is learnt.

    Attributes:
        streams: by name, what is compared of it, and its rows and columns where it has places.
        nearest, components, bank: of `Neighbours`.
        smoothing: over how many steps scores are averaged, an odd number.
        rate_hz: steps a second.
    """

    streams: Mapping[str, tuple[str, tuple[int, int] | None]]
    nearest: int
    components: int
    bank: int
    smoothing: int
    rate_hz: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What is usual, and how surprising it was while it was left out.

    Attributes:
        held_out: float64 [T] each, of usual steps.
        parts: in how many parts it was left out.
        stretches: whether these are stretches of one video, since there are no others.
    """

    usual: Usual
    held_out: Sequence[np.ndarray]
    parts: int
    stretches: bool


def fit(videos: Sequence[Seen], wanted: Wanted) -> Fitted:
    """Learn what is usual. DataError where there is too little of it."""
    units = sorted({video.unit for video in videos})
    stretches = len(units) < 2
    parts = _stretches(videos, wanted) if stretches else _of_units(videos, units, wanted.seed)
    names = [name for name in wanted.streams if _count(videos, name, wanted) >= LEAST_STEPS]
    scores = [found for part in parts for found in _left_out(part, names, wanted)]
    # What no part was compared by says nothing of how far apart usual steps are.
    names = [name for name in names if any(np.isfinite(one[name]).any() for one in scores)]
    if not names:
        raise DataError(
            f"too little is seen: no stream has {LEAST_STEPS} steps in which all is usual, "
            f"{wanted.rate_hz:g} a second, and others beside them to compare with; add videos, "
            "or longer ones"
        )
    every = {name: np.concatenate([one[name] for one in scores]) for name in names}
    tails = {name: Tail.of(all_[np.isfinite(all_)]) for name, all_ in every.items()}
    joined = [joined_streams([(tails[name], one[name]) for name in names])[1] for one in scores]
    tail = Tail.of(np.concatenate(joined))
    streams = tuple(_stream(name, videos, tails[name], wanted) for name in names)
    held_out = [tail.surprise(one) for one in joined]
    return Fitted(Usual(streams, wanted.smoothing, tail), held_out, len(parts), stretches)


# --- what is left out ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What is left out, and what it is compared with."""

    others: Sequence[Seen]
    held: Sequence[Seen]


def _of_units(videos: Sequence[Seen], units: Sequence[str], seed: int) -> list[_Part]:
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    home = {units[place]: i % PARTS for i, place in enumerate(order)}
    return [
        _Part(
            [video for video in videos if home[video.unit] != part],
            [video for video in videos if home[video.unit] == part],
        )
        for part in range(min(PARTS, len(units)))
    ]


def _stretches(videos: Sequence[Seen], wanted: Wanted) -> list[_Part]:
    """Return stretches of each video, each with what is not near it."""
    parts = []
    for part in range(PARTS):
        others, held = [], []
        for video in videos:
            steps, count = np.arange(len(video.usual)), len(video.usual)
            guard = min(round(GUARD_S * wanted.rate_hz), count // (4 * PARTS))
            first, last = part * count // PARTS, (part + 1) * count // PARTS
            others.append(video.only((steps < first - guard) | (steps >= last + guard)))
            held.append(video.only((steps >= first) & (steps < last)))
        parts.append(_Part(others, held))
    return parts


def _left_out(part: _Part, names: Sequence[str], wanted: Wanted) -> list[dict[str, np.ndarray]]:
    """Return the scores of each video's usual steps, by stream; NaN where there are none."""
    nothing = Tail.of(np.zeros(1))
    streams = {
        name: _stream(name, part.others, nothing, wanted)
        for name in names
        if _count(part.others, name, wanted)
    }
    found = []
    for video in part.held:
        scores = {name: np.full(len(video.usual), np.nan) for name in names}
        for name, stream in streams.items():
            raw, _ = raw_scores(stream, video.values[name], video.masks[name])
            # What is unusual beside it is not averaged with it.
            scores[name] = smoothed(np.where(video.usual, raw, np.nan), wanted.smoothing)
        found.append({name: one[video.usual] for name, one in scores.items()})
    return found


# --- one stream ---------------------------------------------------------------------------------


def _count(videos: Sequence[Seen], name: str, wanted: Wanted) -> int:
    """Return how many usual steps of a stream there are."""
    return sum(int(_there(video, name, wanted)[1].sum()) for video in videos)


def _there(video: Seen, name: str, wanted: Wanted) -> tuple[np.ndarray, np.ndarray]:
    front_end, _ = wanted.streams[name]
    seen, there = seen_by(front_end, video.values[name], video.masks[name])
    return seen, there & video.usual


def _stream(name: str, videos: Sequence[Seen], tail: Tail, wanted: Wanted) -> UsualStream:
    """Return what is usual of a stream that has some usual steps."""
    front_end, grid = wanted.streams[name]
    pairs = [_there(video, name, wanted) for video in videos]
    steps = np.concatenate([seen[there] for seen, there in pairs])
    model = _places(steps) if grid and front_end != "identity-change" else _bank(steps, wanted)
    return UsualStream(name, front_end, grid, model, tail)


def _places(steps: np.ndarray) -> Places:
    spread = steps.std(axis=0, dtype=np.float64)
    scale = spread + LEAST_SPREAD * spread.mean() + SMALL
    return Places(steps.mean(axis=0, dtype=np.float64).astype(np.float32), _single(scale))


def _bank(steps: np.ndarray, wanted: Wanted) -> Neighbours:
    draw = np.random.default_rng(wanted.seed)
    if len(steps) > MOST_STEPS:
        steps = steps[np.sort(draw.permutation(len(steps))[:MOST_STEPS])]
    centre = steps.mean(axis=0, dtype=np.float64)
    spread = steps.std(axis=0, dtype=np.float64)
    # Where nothing changes, any change is large, but none is endless.
    scale = np.maximum(spread, max(1e-2 * float(spread.mean()), SMALL))
    standard = (steps - centre) / scale
    components = _components(standard, wanted.components, draw)
    model = Neighbours(
        _single(centre), _single(scale), components, np.zeros((1, 0), np.float32), wanted.nearest
    )
    return replace(model, bank=_single(thinned(model.placed(steps), wanted.bank, draw)))


def _components(standard: np.ndarray, most: int, draw: np.random.Generator) -> np.ndarray:
    """Return the main components, whitened: [N, D] -> float32 [D, C], 1 <= C <= `most`.

    By random projections where there are many (Halko, Martinsson, Tropp 2011): it takes a tenth.
    """
    rows, width = standard.shape
    if rows > COMPONENT_STEPS:
        standard = standard[np.sort(draw.permutation(rows)[:COMPONENT_STEPS])]
        rows = COMPONENT_STEPS
    sketch = most + OVERSAMPLED
    inner = standard
    if sketch < min(rows, width):
        basis = np.linalg.qr(standard @ draw.standard_normal((width, sketch)))[0]
        for _ in range(POWER_ITERATIONS):
            basis = np.linalg.qr(standard @ np.linalg.qr(standard.T @ basis)[0])[0]
        inner = basis.T @ standard
    _, lengths, directions = np.linalg.svd(inner, full_matrices=False)
    variances, directions = lengths[:most] ** 2 / rows, directions[:most].T
    kept = variances > max(LEAST_VARIANCE * float(variances[0]), SMALL)
    kept[0] = True
    # Of one sign, however the library gives it.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), range(len(kept))])
    whitened = directions * signs / np.sqrt(np.maximum(variances, SMALL))
    return _single(whitened[:, kept])


def thinned(points: np.ndarray, most: int, draw: np.random.Generator) -> np.ndarray:
    """Return at most so many points that lie near all the others: [N, C] -> [M, C].

    Greedy k-centre: each is the one furthest from those before (Sener, Savarese 2018).
    """
    if len(points) <= most:
        return points
    chosen = [int(draw.integers(len(points)))]
    nearest = np.full(len(points), np.inf)
    for _ in range(most - 1):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return points[chosen]


def _single(array: np.ndarray) -> np.ndarray:
    single: np.ndarray = array.astype(np.float32)
    return single
