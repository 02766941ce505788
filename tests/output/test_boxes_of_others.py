"""Objects in the formats of others: COCO's JSON and the MOT Challenge's text."""

from __future__ import annotations

import io
import json
from typing import Any

from vmm_cli.output.formats import FORMATS, Shown

LABELS = ("person", "car")


def record(*objects: dict[str, Any], name: str = "a.mp4") -> dict[str, Any]:
    about = {"input": name, "status": "ok", "width": 200, "height": 100}
    about["times_s"] = [0, 0.5, 1, 1.48]
    return about | {"objects": list(objects)}


def seen(time_s: float, label: str, **more: Any) -> dict[str, Any]:
    about = {"time_s": time_s, "label": label, "score": 0.75, "box": [0.1, 0.2, 0.5, 0.25]}
    return about | more


def written(name: str, *records: dict[str, Any]) -> str:
    stream = io.StringIO()
    shown = Shown((), labels=LABELS, objects=lambda record: record["objects"])
    writer = FORMATS[name].begin(stream, shown)
    for one in records:
        writer.write(one)
    writer.close()
    return stream.getvalue()


FAILED = {"input": "b.mp4", "status": "failed", "error": {"code": "x", "message": "y"}}


def test_coco_has_images_annotations_and_categories() -> None:
    pose = [[0.5, 0.5, 0.9], [0.25, 0.1, 0.2]]
    text = written(
        "coco",
        record(seen(0, "car", track=3), seen(0, "person", pose=pose), seen(0.5, "car")),
        FAILED,
        record(seen(1, "car"), name="c.mp4"),
    )
    made = json.loads(text)
    assert made["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    images = [(one["id"], one["file_name"], one["video_id"]) for one in made["images"]]
    assert images[:2] == [(1, "a.mp4#t=0", 1), (2, "a.mp4#t=0.5", 1)]
    assert images[6:] == [(7, "c.mp4#t=1", 2), (8, "c.mp4#t=1.48", 2)]
    car, person, later, other = made["annotations"]
    assert (car["id"], car["image_id"], car["category_id"], car["track_id"]) == (1, 1, 2, 3)
    assert (car["bbox"], car["area"], car["score"]) == ([20, 20, 100, 25], 2500, 0.75)
    assert person["keypoints"] == [100, 50, 2, 50, 10, 0] and person["num_keypoints"] == 1
    assert person["keypoint_scores"] == [0.9, 0.2]
    assert (later["image_id"], other["image_id"], other["id"]) == (2, 7, 4)


def test_coco_of_nothing_is_whole() -> None:
    for records in ((), (FAILED,), (record(),)):
        made = json.loads(written("coco", *records))
        assert made["annotations"] == []
        assert len(made["images"]) == (4 if records == (record(),) else 0)
        assert len(made["categories"]) == 2


def test_mot_has_a_line_for_each_object_that_is_followed() -> None:
    rows = (seen(0, "car", track=0), seen(0.5, "person"), seen(1.48, "person", track=4))
    assert written("mot", record(*rows)).splitlines() == [
        "1,1,20.00,20.00,100.00,25.00,0.7500,2,-1,-1",
        "4,5,20.00,20.00,100.00,25.00,0.7500,1,-1,-1",
    ]
    assert written("mot", FAILED) == ""
