"""Objects of pictures as COCO's JSON, as tools for labelling and measuring read it.

https://cocodataset.org/#format-data: a category for each label, numbered from 1 as the model
numbers them; an image for each picture that was looked at, with the number of its video; an
annotation for each object, with its box in pixels, its score, its track (within its video) and its
keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

SEEN, UNSEEN = 2, 0  # COCO's flags of keypoints
LEAST_SCORE = 0.3  # of a keypoint that is seen: see the card of the model `pose`
PIXEL_DIGITS = 2

ObjectsOf = Callable[[Mapping[str, Any]], Iterable[Mapping[str, Any]]]


class CocoDocument:
    """Writes one document of all records; `close` ends it.

    Args:
        stream: where to.
        labels: of the model, in its order.
        objects: gives a record's objects.
    """

    def __init__(self, stream: TextIO, labels: Sequence[str], objects: ObjectsOf) -> None:
        self._stream = stream
        self._objects = objects
        self._numbers = {label: number for number, label in enumerate(labels, start=1)}
        self._images: list[dict[str, Any]] = []
        self._videos = 0
        self._annotations = 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the annotations of one record; of one that is not ok, nothing."""
        if record["status"] != "ok":
            return
        for annotation in self._annotations_of(record):
            self._stream.write(",\n" if self._annotations else '{"annotations": [\n')
            self._stream.write(json.dumps(annotation))
            self._annotations += 1
        self._stream.flush()

    def close(self) -> None:
        """Write the images and the categories."""
        if not self._annotations:
            self._stream.write('{"annotations": [')
        categories = [{"id": number, "name": name} for name, number in self._numbers.items()]
        for name, rows in (("images", self._images), ("categories", categories)):
            lines = ",\n".join(map(json.dumps, rows))
            self._stream.write(f'\n], "{name}": [\n{lines}')
        self._stream.write("\n]}\n")
        self._stream.flush()

    def _annotations_of(self, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        width, height = record["width"], record["height"]
        self._videos += 1
        numbers = {}
        for time_s in record["times_s"]:
            numbers[time_s] = len(self._images) + 1
            self._images.append(
                {
                    "id": numbers[time_s],
                    "file_name": f"{record['input']}#t={time_s}",  # a media fragment (W3C)
                    "width": width,
                    "height": height,
                    "time_s": time_s,
                    "video_id": self._videos,
                }
            )
        for one in self._objects(record):
            x, y, wide, high = one["box"]
            box = [x * width, y * height, wide * width, high * height]
            annotation = {
                "id": self._annotations + 1,
                "image_id": numbers[one["time_s"]],
                "category_id": self._numbers[one["label"]],
                "bbox": [round(side, PIXEL_DIGITS) for side in box],
                "area": round(box[2] * box[3], PIXEL_DIGITS),
                "iscrowd": 0,
                "score": one["score"],
            }
            if "track" in one:
                annotation["track_id"] = one["track"]
            if "pose" in one:
                annotation |= _keypoints(one["pose"], width, height)
            yield annotation


def _keypoints(pose: Sequence[Sequence[float]], width: int, height: int) -> dict[str, Any]:
    """Return a pose as COCO has it: points in pixels, and which of them are seen."""
    flat: list[float] = []
    for x, y, score in pose:
        seen = SEEN if score >= LEAST_SCORE else UNSEEN
        flat += (round(x * width, PIXEL_DIGITS), round(y * height, PIXEL_DIGITS), seen)
    count = sum(flag == SEEN for flag in flat[2::3])
    return {"keypoints": flat, "num_keypoints": count, "keypoint_scores": [p[2] for p in pose]}
