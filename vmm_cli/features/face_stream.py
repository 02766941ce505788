"""The stream `face`: what the faces in the pictures express, step by step. No torch itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import EncoderSpec
from vmm_cli.features.encoder import Compute, Encoder, Job, versioned
from vmm_cli.features.grid import on_grid
from vmm_cli.features.values import Features
from vmm_cli.media.frames import FrameRequest

if TYPE_CHECKING:
    from vmm_cli.features.faces import FaceEncoder


def face_spec(name: str, row: Encoder, window_s: Fraction) -> EncoderSpec:
    """Return what a bundle says of it. ModelError: the bundle with the weights is not at hand."""
    from vmm_cli.features.faces import FACES_VERSION

    weights = bundles.read(bundles.find(row.weights)).weights_digest
    return versioned(name, row, window_s, made_of=f"{FACES_VERSION} {weights}")


class FacePictures:
    """Hands on one picture after the other, and keeps the features of those that have faces."""

    def __init__(self, job: Job, batch: int) -> None:
        from vmm_cli.features.faces import PICTURE_SIZE

        self.requests = [FrameRequest("face", job.sampling, PICTURE_SIZE)]
        self._steps = job.times
        self._times: list[float] = []

    def take(self, request: str, time_s: float, image: np.ndarray) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        self._times.append(time_s)
        yield image[None]

    def finish(self, end_s: float | None) -> Iterator[np.ndarray]:
        """See `FrameLoader`."""
        yield from ()

    def tracks(self, values: Sequence[np.ndarray], width: int) -> list[Features]:
        """Return the features of the steps at which a picture with a face is shown, as one track.

        By step: else a face would seem to last through pictures that have none.
        """
        whole = np.concatenate([np.empty((0, width), np.float32), *values])
        shown, there = on_grid(Features(np.array(self._times, np.float64), whole), self._steps)
        there &= shown.any(axis=1)  # where there is a face its probabilities add up to 1
        return [Features(self._steps[there], shown[there])]


def face_compute(job: Job) -> Compute:
    """Return the networks that find and read faces. ModelError: they are not at hand."""
    from vmm_cli.features.faces import FEATURE_WIDTH

    return Compute(partial(_express, _face_encoder(job.row.weights)), FEATURE_WIDTH)


def _express(encoder: FaceEncoder, images: np.ndarray) -> np.ndarray:
    """Return what pictures' faces express: uint8 [N, H, W, 3] -> float32 [N, 135], 0 without."""
    from vmm_cli.features.faces import face_features

    return face_features(encoder, list(images))[0]


@lru_cache(maxsize=1)
@progress.loading()
def _face_encoder(weights: str) -> FaceEncoder:
    from vmm_cli.features.faces import load_face_encoder

    return load_face_encoder(bundles.read(bundles.find(weights)))
