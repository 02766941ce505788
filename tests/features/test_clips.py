"""Clips of real, numbered pictures against a plain reading of what is shown when."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.clips import picture_number
from vmm_cli.features.clips import MAX_SHORT_SIDE, Viewer, frame_request, iter_prepared
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.media.frames import DecodeReport, iter_frames, video_end_s
from vmm_cli.media.sampling import Sampling, at, count, every, split, wanted_times
from vmm_cli.media.video import Video

FRAMES, RATE = 4, 5
CLIP = Preprocess(256, 256, 0.0, 1.0, frames=FRAMES, rate_hz=RATE)
Render = Callable[..., Path]


def numbers_in(
    video: Path, plan: Sampling, until: Fraction | None = None
) -> list[tuple[float, list[int]]]:
    """The clips of a video: when they begin, and the numbers of their pictures."""
    prepared = iter_prepared(Video(video), CLIP, plan, until=until, report=DecodeReport())
    return [(time_s, [picture_number(image) for image in clip]) for time_s, clip in prepared]


def expected(
    times: list[Fraction], end: Fraction, plan: Sampling, until: Fraction | None = None
) -> list[tuple[float, list[int]]]:
    """The same from the times (s) at which pictures 0, 1, ... appear."""
    clips = []
    for begin in wanted_times(plan, end):
        wanted = [begin + Fraction(k, RATE) for k in range(FRAMES)]
        inside = [t for t in wanted if t < min(end, until or end)] or [begin]
        shown = [max([0, *(i for i, appears in enumerate(times) if appears <= t)]) for t in inside]
        clips.append((float(begin), shown + shown[-1:] * (FRAMES - len(shown))))
    return clips


@pytest.fixture
def steady(render_clip: Render) -> Path:
    """50 pictures, 25 a second."""
    return render_clip(width=256, height=256)


STEADY = [Fraction(i, 25) for i in range(50)]
END = Fraction(2)


def test_a_clip_holds_what_is_shown_at_its_times(steady: Path) -> None:
    assert numbers_in(steady, every(Fraction(1, 2))) == [
        (0.0, [0, 5, 10, 15]),
        (0.5, [12, 17, 22, 27]),
        (1.0, [25, 30, 35, 40]),
        (1.5, [37, 42, 47, 47]),  # the video ends at 2 s
    ]


@pytest.mark.parametrize(
    "plan",
    [
        every(Fraction(1, 10)),
        every(Fraction(7, 10), start=Fraction(1, 3)),
        every(1, start=1),
        every(Fraction(1, 2), end=Fraction(8, 5)),
        every(30),
        count(3),
        count(1, start=1),
        at([0, Fraction(19, 10)]),
    ],
    ids=lambda plan: f"{plan.kind} {plan.step_s or plan.n or ''}",
)
def test_clips_may_overlap_or_leave_gaps(steady: Path, plan: Sampling) -> None:
    assert numbers_in(steady, plan, plan.end) == expected(STEADY, END, plan, plan.end)


@pytest.mark.parametrize("plan", [every(Fraction(3, 10)), count(5), every(1, end=Fraction(3, 2))])
def test_the_parts_of_a_video_give_the_clips_of_the_whole(steady: Path, plan: Sampling) -> None:
    """A clip that begins in one part goes on in the next; the user's own end still ends it."""
    parts = split(plan, [Fraction(1, 2), Fraction(11, 10)], END)
    together = [clip for part in parts for clip in numbers_in(steady, part, plan.end)]
    assert together == numbers_in(steady, plan, plan.end)
    assert len(together) >= 2


def test_pictures_that_stay_fill_clips(render_clip: Render) -> None:
    """Of one that stays, too, when nothing after it is decoded."""
    pts = [0, 100, 200, 3000, 3100, 3200]
    video = render_clip(
        "still.mkv",
        frames=len(pts),
        width=256,
        height=256,
        pts=pts,
        time_base=Fraction(1, 1000),
        codec="mjpeg",  # each picture leaves the decoder at once
        pix_fmt="yuvj420p",
    )
    times = [Fraction(t, 1000) for t in pts]
    end = video_end_s(video)
    for plan in (every(1), every(1, end=3), every(1, end=2), count(3), count(2, end=3)):
        assert numbers_in(video, plan, plan.end) == expected(times, end, plan, plan.end)


def test_a_video_slower_than_the_clip_repeats_pictures(render_clip: Render) -> None:
    video = render_clip("slow.mp4", frames=6, rate=2, width=256, height=256)
    times = [Fraction(i, 2) for i in range(6)]
    assert numbers_in(video, every(1)) == expected(times, Fraction(3), every(1))


def test_nothing_is_cut_from_what_is_past_the_end(steady: Path) -> None:
    assert numbers_in(steady, every(1, start=5)) == []


def test_little_is_held(steady: Path) -> None:
    """One clip's pictures and one more, wherever clips lie."""
    for step in (Fraction(1, 10), Fraction(1, 5), Fraction(9, 10)):
        request = frame_request("x", CLIP, every(step))
        viewer = Viewer(CLIP, request.sampling)
        made = 0
        for frame in iter_frames(steady, [request]):
            made += len(list(viewer.take(frame.time_s, frame.image)))
            assert len(viewer._shown) <= FRAMES * max(1, Fraction(1, RATE) / step) + 1
        assert made >= 1


def test_single_pictures_pass_one_by_one(bikes: Path) -> None:
    numbers = Preprocess(256, 224, 127.0, 128.0)
    report = DecodeReport()
    made = list(iter_prepared(Video(bikes), numbers, every(3), until=None, report=report))
    assert [time_s for time_s, _ in made] == [0, 3, 6, 9]
    assert {image.shape for _, image in made} == {(224, 224, 3)}


def test_large_pictures_are_brought_down_before_torch_sees_them(render_clip: Render) -> None:
    numbers = Preprocess(256, 224, 127.0, 128.0, resize="antialias")
    request = frame_request("x", numbers, every(1))
    assert request.sampling.clip is None
    sizes = {}
    for width, height in ((64, 4400), (320, 240)):
        video = render_clip(f"{height}.mp4", frames=1, width=width, height=height)
        ((_, image),) = ((f.time_s, f.image) for f in iter_frames(video, [request]))
        sizes[height] = image.shape
    assert sizes == {4400: (4400, 64, 3), 240: (240, 320, 3)}  # the shorter side counts
    assert request.size is not None
    assert request.size.short == MAX_SHORT_SIDE


def test_a_clip_is_what_the_preprocessing_says() -> None:
    assert CLIP.shape == (FRAMES, 256, 256, 3)
    assert CLIP.step_s == Fraction(1, 5)
    viewer = Viewer(CLIP, frame_request("x", CLIP, every(1)).sampling)
    assert list(viewer.take(0.0, np.zeros((256, 256, 3), np.uint8))) == []
    ((time_s, clip),) = viewer.finish(0.04)
    assert (time_s, clip.shape, clip.dtype) == (0.0, CLIP.shape, np.uint8)
    assert list(viewer.finish(None)) == []


def test_the_decoder_squashes_where_a_width_is_wanted(render_clip: Render) -> None:
    squashed = Preprocess(256, 256, 0.0, 1.0, width=256)
    wide = render_clip("wide.mp4", frames=22, width=640, height=240)
    prepared = iter_prepared(
        Video(wide), squashed, at([Fraction(17, 25)]), until=None, report=DecodeReport()
    )
    (image,) = (image for _, image in prepared)
    assert image.shape == (256, 256, 3)  # all 16 bars of a number, not those of the middle
    assert picture_number(image) == 17
    turned = render_clip("turned.mp4", frames=3, width=640, height=240, rotation=90)
    prepared = iter_prepared(Video(turned), squashed, every(1), until=None, report=DecodeReport())
    assert [image.shape for _, image in prepared] == [(256, 256, 3)]
