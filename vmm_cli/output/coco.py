"""Objects of pictures as COCO's JSON, as tools for labelling and measuring read it.

https://cocodataset.org/#format-data: a category for each label, numbered from 1 as the model
numbers them; an image for each picture in which something is; an annotation for each object, with
its box in pixels, its score, its track and its keypoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO

VISIBLE = 2  # COCO's flag of a keypoint that is seen
PIXEL_DIGITS = 2


class CocoDocument:
    """Writes one document of all records; `close` ends it.

    Args:
        stream: where to.
        labels: of the model, in its order.
    """

    def __init__(self, stream: TextIO, labels: Sequence[str]) -> None:
        self._stream = stream
        self._numbers = {label: number for number, label in enumerate(labels, start=1)}
        self._images: list[dict[str, Any]] = []
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
        for time_s, objects in groupby(record["objects"], key=lambda one: one["time_s"]):
            image = len(self._images) + 1
            name = f"{record['input']}#t={time_s:g}"  # a media fragment, as the W3C names them
            about = {"id": image, "file_name": name, "width": width, "height": height}
            self._images.append(about | {"time_s": time_s})
            for one in objects:
                x, y, wide, high = one["box"]
                box = [x * width, y * height, wide * width, high * height]
                annotation = {
                    "id": self._annotations + 1,
                    "image_id": image,
                    "category_id": self._numbers[one["label"]],
                    "bbox": [round(side, PIXEL_DIGITS) for side in box],
                    "area": round(box[2] * box[3], PIXEL_DIGITS),
                    "iscrowd": 0,
                    "score": one["score"],
                }
                if "track" in one:
                    annotation["track_id"] = one["track"]
                if "pose" in one:
                    points = [(p[0] * width, p[1] * height) for p in one["pose"]]
                    flat = [round(side, PIXEL_DIGITS) for point in points for side in point]
                    annotation["keypoints"] = [
                        value
                        for i in range(len(points))
                        for value in (*flat[2 * i : 2 * i + 2], VISIBLE)
                    ]
                    annotation["num_keypoints"] = len(points)
                yield annotation
