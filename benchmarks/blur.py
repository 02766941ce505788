"""How sure one may be of `vmm detect-objects --blur`: what stays to be seen of people and faces.

    python -m benchmarks.blur pictures   # $VMM_DATA/pictures: 80 pictures of COCO val2017
    python -m benchmarks.blur person     # of $VMM_DATA/falls: found again in the blurred videos
    python -m benchmarks.blur faces      # of $VMM_DATA/talking_heads: the same

A picture becomes a video of a single picture. A person counts as hidden where at least 90 % of the
box that people drew is covered, a face where its nose, eyes and ears are, as far as they are seen.
In videos, what is told of the blurred video is counted that was told of the original: people by
`detect-objects`, ten pictures a second, and faces by the detector of `sentiment`, as that uses it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vmm_cli import bundles
from vmm_cli.analysis.covering import Covered
from vmm_cli.batch.inputs import Input
from vmm_cli.features.face_boxes import WEIGHTS
from vmm_cli.features.face_detection import detect
from vmm_cli.features.faces import PICTURE_SIZE, load_face_encoder
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video
from vmm_cli.operations.blurring import SUFFIX
from vmm_cli.operations.detect_objects import Job, ObjectOptions, prepare, run

HIDDEN = 0.9  # of a person's box
SIZES = (("small", 32**2), ("medium", 96**2), ("large", 10**9))  # COCO's, pixels of the area
HEAD_POINTS, NOSE, VISIBLE = 5, 0, 2
STEP_S = Fraction(1, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what --blur leaves to be seen.")
    parser.add_argument("table", choices=("pictures", "person", "faces"))
    arguments = parser.parse_args()
    if "VMM_DATA" not in os.environ:
        sys.exit("VMM_DATA is not set: it names the folder that holds the data")
    data = Path(os.environ["VMM_DATA"])
    of_pictures = arguments.table == "pictures"
    for row in pictures(data / "pictures") if of_pictures else [videos(data, arguments.table)]:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def job_for(blur: str, folder: Path) -> Job:
    job: Job = prepare(ObjectOptions(blur=(blur,), draw=folder, no_store=True)).work.job
    return job


def covered_in(job: Job, path: Path) -> Covered:
    covered: Covered = run(job, Input(path, path.name, path.name)).to_record()["covered"]
    return covered


# --- pictures -----------------------------------------------------------------------------------


def pictures(folder: Path) -> Iterator[tuple[object, ...]]:
    """Yield of people and of faces how many are hidden, and how much of the pictures is covered."""
    people = json.loads((folder / "keypoints.json").read_text())
    of_picture: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in people["annotations"]:
        of_picture[one["image_id"]].append(one)
    for blur in ("person", "faces"):
        hidden: dict[str, list[bool]] = defaultdict(list)
        shares: dict[bool, list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as work:
            job = job_for(blur, Path(work))
            for picture in people["images"]:
                clip = as_video(folder / "images" / picture["file_name"], Path(work) / "one.mkv")
                mask = mask_of(covered_in(job, clip).at(0), picture["width"], picture["height"])
                there = of_picture[picture["id"]]
                shares[bool(there)].append(float(mask.mean()))
                for one in there:
                    if not one["iscrowd"] and (found := is_hidden(one, mask, blur)) is not None:
                        size = next(name for name, most in SIZES if one["area"] < most)
                        hidden[size].append(found)
        yield from (
            (f"{blur}, {size}", f"{sum(ones)} of {len(ones)}") for size, ones in hidden.items()
        )
        yield f"{blur}: covered of pictures with people", f"{np.mean(shares[True]):.0%}"
        yield f"{blur}: covered of pictures without", f"{np.mean(shares[False]):.0%}"


def is_hidden(one: dict[str, Any], mask: np.ndarray, blur: str) -> bool | None:
    """Tell whether a person, or the face, is hidden; None for who shows none."""
    height, width = mask.shape
    if blur == "person":
        x, y, wide, high = one["bbox"]
        box = mask[int(y) : int(np.ceil(y + high)), int(x) : int(np.ceil(x + wide))]
        return bool(box.mean() >= HIDDEN)
    points = np.array(one["keypoints"]).reshape(-1, 3)[:HEAD_POINTS]
    if points[NOSE, 2] != VISIBLE:
        return None
    seen = points[points[:, 2] == VISIBLE]
    return all(mask[min(y, height - 1), min(x, width - 1)] for x, y, _ in seen.tolist())


def mask_of(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for left, top, right, bottom in boxes.clip(0, 1).tolist():
        columns = slice(int(left * width), int(np.ceil(right * width)))
        mask[int(top * height) : int(np.ceil(bottom * height)), columns] = True
    return mask


def as_video(picture: Path, path: Path) -> Path:
    """Write a video that holds a JPEG as it is."""
    with av.open(str(picture)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream, packet.pts, packet.dts = stream, 0, 0
                container.mux(packet)
    return path


# --- videos -------------------------------------------------------------------------------------


def videos(data: Path, blur: str) -> tuple[object, ...]:
    """Return how many people, or faces, are found in videos, and in the blurred ones."""
    folder, count = {
        "person": (data / "falls" / "videos", people_in),
        "faces": (data / "talking_heads", faces_in),
    }[blur]
    with tempfile.TemporaryDirectory() as work:
        vmm = [sys.executable, "-m", "vmm_cli", "detect-objects", str(folder)]
        words = ["--blur", blur, "--draw", work, "--no-store", "--format", "jsonl"]
        done = subprocess.run([*vmm, *words], check=True, stdout=subprocess.PIPE, text=True)
        made = [json.loads(line)["drawing"] for line in done.stdout.splitlines()]
        after = sum(count(Path(work) / name) for name in made)
    before = sum(count(folder / name.removesuffix(SUFFIX)) for name in made)
    return f"{blur}, in pictures of {len(made)} videos", before, after


def people_in(path: Path) -> int:
    job: Job = prepare(ObjectOptions(labels=("person",), every=STEP_S, no_store=True)).work.job
    return len(run(job, Input(path, path.name, path.name)).to_record()["objects"])


def faces_in(path: Path) -> int:
    detector = load_face_encoder(bundles.read(bundles.find(WEIGHTS))).detector
    request = FrameRequest("faces", every(STEP_S), PICTURE_SIZE)
    return sum(len(detect(detector, frame.image)[0]) for frame in Video(path).frames([request]))


if __name__ == "__main__":
    main()
