"""The stream `motion` by crops: of each window the places that move most, as an image network
sees them. No torch itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, isqrt
from typing import cast

import numpy as np

from vmm_cli import bundles
from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Compute, Encoder, Job, OfFrames
from vmm_cli.features.grid import ROUNDING_S, Window, grid_times, on_grid
from vmm_cli.features.image_stream import carried, compute_of, image_encoder
from vmm_cli.features.motion import (
    GREY_HZ,
    GREY_SHORT_SIDE,
    cut,
    grey,
    motion_map,
    moving_people,
    place_box,
    resized,
)
from vmm_cli.features.sightings import carried as watching
from vmm_cli.features.sightings import digest_of
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.geometry import Size

PERSON_NUMBER = 0  # among COCO's kinds
# The pictures of a window wait until it is known where it moves, so many bytes of them.
WAITING_BYTES = 256 * 2**20

Shown = list[tuple[float, np.ndarray]]  # pictures with the seconds from which they are shown


def crops_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of crops. ModelError: the image network is not at hand.

    Bundles say the sides one by one, `side_0`, `side_1`, beside what the image network says.
    """
    backbone = carried(row.weights)
    numbers = {"window_s": float(window_s), **backbone.preprocess}
    numbers |= {f"side_{i}": side for i, side in enumerate(_sides(row))}
    made_of = f"{name} {row.version} {backbone.digest}"
    if isinstance(row.runs, OfFrames) and row.runs.watches:
        made_of += " " + digest_of(watching(poses=False))
    return EncoderSpec(name, bundles.encoder_digest(made_of, numbers, {}), numbers)


def crops_compute(job: Job) -> Compute:
    """Return the image network that sees the crops. ModelError: it is not at hand."""
    return _compute(job.row.weights, job.device)


@lru_cache(maxsize=1)
def _compute(weights: str, device: str) -> Compute:
    return compute_of(image_encoder(weights, carried(weights), device))


def _sides(row: Encoder) -> list[float]:
    """Return the sides of the squares, of the picture's shorter side."""
    return cast("list[float]", row.settings["sides"])


class Crops:
    """Holds a window's pictures until it is known where the window moves, then cuts it out."""

    def __init__(self, job: Job, batch: int) -> None:
        self._sides = _sides(job.row)
        runs = job.row.runs
        assert isinstance(runs, OfFrames)
        self._watched = job.watched if runs.watches else None
        self._crop = int(cast(float, job.spec.preprocess["crop"]))
        self._windows = job.windows
        self._rate_hz = job.rate_hz
        self._done: list[np.ndarray] = []  # by window: when the pictures that were cut are shown
        self._pictures: Shown = []
        self._grey: Shown = []
        steps = len(grid_times(Window(Fraction(0), job.window_s), job.rate_hz))
        size = Size(short=self._short_side(steps), enlarge=False)
        small = replace(job.sampling, step_s=1 / Fraction(GREY_HZ))
        self.requests = [
            FrameRequest("motion", job.sampling, size),
            FrameRequest("grey", small, Size(short=GREY_SHORT_SIDE)),
        ]

    def _short_side(self, steps: int) -> int:
        """Return at which shorter side pictures wait: so that the smallest crop is not enlarged.

        Less where the many pictures of a long window would not fit; of 16:9.
        """
        fitting = isqrt(WAITING_BYTES * 9 // (steps * 3 * 16))
        return max(self._crop, min(fitting, ceil(self._crop / min(self._sides))))

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """See `FrameLoader`; pictures of both requests ascend in time together."""
        while len(self._done) < len(self._windows) - 1 and self._is_over(time_s):
            yield from self._finish_window()
        if request == "grey":
            self._grey.append((time_s, grey(image)))
        else:
            self._pictures.append((time_s, image))

    def _is_over(self, time_s: float) -> bool:
        """Tell whether all is known of the next window, at the time of a picture."""
        end = self._windows[len(self._done)].end
        if self._watched is None:
            return time_s >= end
        return bool(self._watched.times) and self._watched.times[-1] >= end

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        while len(self._done) < len(self._windows):
            yield from self._finish_window()

    def _finish_window(self) -> Iterator[np.ndarray]:
        """Yield the crops of a window: uint8 [N, crop, crop, 3] for each side, N pictures."""
        window = self._windows[len(self._done)]
        end_s = float(window.end - ROUNDING_S)
        shown = [(time_s, image) for time_s, image in self._pictures if time_s < end_s]
        self._done.append(np.array([time_s for time_s, _ in shown], np.float64))
        if shown:
            change = _motion([image for time_s, image in self._grey if time_s < end_s])
            if self._watched is not None:
                boxes = self._watched.boxes(PERSON_NUMBER, float(window.start), end_s)
                change = moving_people(change, boxes)
            for side in self._sides:
                box = place_box(change, side)
                yield resized([cut(image, box) for _, image in shown], self._crop)
        if len(self._done) < len(self._windows):
            following = float(self._windows[len(self._done)].start)
            self._pictures = _from_time(self._pictures, following)
            self._grey = _from_time(self._grey, following)

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """See `FrameLoader`: of each window [T, D x crops], at its steps."""
        given = iter(values)
        tracks = []
        for window, shown in zip(self._windows, self._done, strict=True):
            if not len(shown):
                nothing = np.empty((0, width * len(self._sides)), np.float32)
                tracks.append(Features(np.empty(0), nothing))
                continue
            columns = [next(given) for _ in self._sides]
            times = grid_times(window, self._rate_hz)
            features = Features(shown, np.concatenate(columns, axis=1))
            at_steps, mask = on_grid(features, times)
            tracks.append(Features(times[mask], at_steps[mask]))
        return tracks


def _motion(small: Sequence[np.ndarray]) -> np.ndarray:
    """Return `motion_map` of one or more grey pictures; of those of the first one's size."""
    return motion_map(np.stack([image for image in small if image.shape == small[0].shape]))


def _from_time(pictures: Shown, time_s: float) -> Shown:
    """Leave out what is no longer shown at a time."""
    first = 0
    for i, (begins_s, _) in enumerate(pictures):
        if begins_s <= time_s + float(ROUNDING_S):
            first = i
    return pictures[first:]
