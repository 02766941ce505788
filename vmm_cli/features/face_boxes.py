"""Where faces may be in a video's pictures: nothing of whose they are, and nothing that is kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.features.face_detection import Detector, Search, detect
from vmm_cli.features.faces import load_face_encoder
from vmm_cli.media.frames import Frame, FrameRequest
from vmm_cli.media.geometry import Size
from vmm_cli.media.sampling import Sampling

FACES = "face boxes"  # the request's name
WEIGHTS = "sentiment/face"
PICTURE_SIZE = Size(short=480, enlarge=False)
# So that few are missed: with `USUAL` a third more of the faces of COCO's pictures are. Of pictures
# without people, one in five then has something that is taken for a face.
SEARCH = Search(smallest=12, least_chances=(0.5, 0.6, 0.6), most=100)


class FaceBoxes:
    """Finds faces in pictures as they come: see `vmm_cli.features.sightings.Taker`.

    Attributes:
        times: of the pictures, in seconds.
        boxes: of each picture float32 [n, 4], left, top, right and bottom in shares of its width
            and height; scores: [n].

    Raises:
        ModelError: the networks are not at hand, or damaged.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.request = FrameRequest(FACES, sampling, PICTURE_SIZE)
        self._detector = _detector()
        self.times: list[float] = []
        self.boxes: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []

    def take(self, frame: Frame) -> None:
        """Take the next picture."""
        boxes, scores = detect(self._detector, frame.image, SEARCH)
        height, width = frame.image.shape[:2]
        self.times.append(frame.time_s)
        self.boxes.append(boxes / np.array([width, height, width, height], np.float32))
        self.scores.append(scores)


@lru_cache(maxsize=1)
@progress.loading()
def _detector() -> Detector:
    return load_face_encoder(bundles.read(bundles.find(WEIGHTS))).detector
