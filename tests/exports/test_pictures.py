"""What is read of videos: no more than is needed, in bounded memory, in two parts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.errors import DataError
from vmm_cli.exports.pictures import (
    CLIPS,
    MOST_BYTES,
    PICTURES,
    WORKER_MEMORY_BYTES,
    evenly,
    shares_of,
    shown_in,
    worker_bytes,
)
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS

LITE0 = Preprocess(256, 224, 127.0, 128.0)
SMALL = Preprocess(64, 56, 127.0, 128.0)


def named(number: int) -> list[tuple[str, Path]]:
    return [(f"{i}.mp4", Path(f"{i}.mp4")) for i in range(number)]


@pytest.mark.parametrize("number", [1, 2, 3, 100, 10_000])
@pytest.mark.parametrize(
    "numbers",
    [
        LITE0,
        Preprocess(2048, 2048, 127.0, 128.0),
        *(
            Preprocess.from_dict(TORCHVISION[f"torchvision/{n}"].preprocess)
            for n in ("r3d_18", "s3d")
        ),
    ],
)
def test_what_is_held_is_bounded(number: int, numbers: Preprocess) -> None:
    shares = shares_of(named(number), numbers)
    each = math.prod(numbers.shape)
    held = sum(len(share.videos) * share.per_video for share in shares) * each
    assert held <= 1.4 * MOST_BYTES  # whole numbers of pictures a video
    assert sum(share.most for share in shares) * each <= MOST_BYTES
    assert worker_bytes(shares, numbers) <= WORKER_MEMORY_BYTES + 2.8 * MOST_BYTES
    assert all(share.most >= 1 for share in shares)


def test_as_much_as_is_needed() -> None:
    first, second = shares_of(named(280), LITE0)
    assert (len(first.videos), len(second.videos)) == (128, 140)
    assert first.per_video * len(first.videos) >= PICTURES[0]
    assert second.per_video * len(second.videos) >= PICTURES[1]
    assert not set(first.videos) & set(second.videos)
    (clips, _) = shares_of(named(2), Preprocess(64, 56, 127.0, 128.0, frames=4, rate_hz=4.0))
    assert clips.per_video == CLIPS[0]


def test_evenly() -> None:
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    assert evenly("ab", 4) == "ab"


def read(*videos: Path, numbers: Preprocess = SMALL) -> tuple[int, int, set[str]]:
    shown = shown_in([(v.name, v) for v in videos], numbers, DEFAULT_MAX_PIXELS, 1)
    assert shown.calibrating.shape[1:] == shown.measured.shape[1:] == numbers.shape
    assert not any(np.array_equal(one, shown.calibrating[0]) for one in shown.measured)
    assert (shown.given, shown.opened) == (len(videos), len(videos))
    return len(shown.calibrating), len(shown.measured), set(shown.failed)


def test_a_single_video_is_halved(bikes: Path, tmp_path: Path) -> None:
    assert read(bikes) == (50, 50, set())  # of ten seconds, every tenth of a second
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    assert read(bikes, bad) == (50, 50, {"bad.mp4"})
    assert read(bad, bikes) == (50, 50, {"bad.mp4"})
    with pytest.raises(DataError, match=r"no video to calibrate with can be read: bad\.mp4"):
        read(bad)


def test_two_videos(bikes: Path, bunny: Path) -> None:
    assert read(bikes, bunny) == (100, 53, set())
