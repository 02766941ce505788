"""How much moves where: spans, odd files, and where the energy lies."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events import HEIGHT, PACES, SIDE, WIDTH, event_clip
from tests.squares import squares_clip
from vmm_cli.features.grid import Window
from vmm_cli.features.motion_energy import CELLS, EnergyTrack, cell_means, energy_sampling
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.values import Features
from vmm_cli.features.windows import window_features
from vmm_cli.media.video import Video

RATE_HZ = Fraction(4)
COLUMNS = 16
SECONDS = 6.0


def plan(rate_hz: Fraction = RATE_HZ) -> StreamPlan:
    length = Fraction(4)
    spec = encoder_spec("motion", "motion-energy", length)
    return StreamPlan({"motion": spec}, rate_hz, length)


def energy(
    path: Path, window: Window | None = None, rate_hz: Fraction = RATE_HZ
) -> tuple[np.ndarray, np.ndarray]:
    """Return values [T, 192] and mask [T]."""
    window = window or Window(Fraction(0), Video(path).end_s)
    (shown,) = window_features(Video(path), [window], plan(rate_hz), use_store=False)
    return shown.values["motion"], shown.masks["motion"]


def track_of(
    times: list[float], pictures: list[np.ndarray], window: Window, rate_hz: Fraction = RATE_HZ
) -> Features:
    track = EnergyTrack(window, rate_hz)
    for time_s, picture in zip(times, pictures, strict=True):
        track.take(time_s, picture)
    return track.features()


def flat(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


# --- arithmetic ---------------------------------------------------------------------------------


def test_the_change_is_that_of_each_cell_and_step() -> None:
    """Worked by hand: one cell goes from 100 to 116 in a picture that is wanted at 0.5 s."""
    before, after = flat(100), flat(100)
    after[4:8, 8:12] = 116  # the second row of cells, the third column
    times, pictures = [0.0, 0.1, 0.3, 0.5, 0.74], [before, before, after, after, after]
    found = track_of(times, pictures, Window(Fraction(0), Fraction(3, 4)))
    assert found.times.tolist() == [0, 0.25, 0.5]
    assert found.values.shape == (3, CELLS) and found.values.dtype == np.float32
    # Two changes fall into the step, 16 and 0: the root of their mean.
    assert found.values[2, COLUMNS + 2] == pytest.approx(8**0.5, rel=1e-4)
    assert np.count_nonzero(found.values > 1e-2) == 1


def test_a_cell_is_the_mean_of_its_pixels() -> None:
    picture = np.arange(48 * 64, dtype=np.float32).reshape(48, 64)
    assert cell_means(picture).shape == (CELLS,)
    assert cell_means(picture)[COLUMNS + 1] == picture[4:8, 4:8].mean()


def test_without_a_picture_there_are_no_steps() -> None:
    found = track_of([], [], Window(Fraction(0), Fraction(2)))
    assert len(found) == 0 and found.values.shape == (0, CELLS)


def test_one_picture_alone_does_not_move() -> None:
    found = track_of([0.0], [flat(9)], Window(Fraction(0), Fraction(1)))
    assert len(found) == 4 and not found.values.any()


@given(
    st.fractions(0, 500, max_denominator=1000),
    st.fractions(Fraction(1, 10), 60),
    st.sampled_from([Fraction(1, 2), Fraction(2), Fraction(4), Fraction(25, 2)]),
)
def test_the_pictures_wanted_lie_on_one_raster(
    start: Fraction, length: Fraction, rate_hz: Fraction
) -> None:
    wanted = energy_sampling(start, start + length, rate_hz)
    assert wanted.step_s == min(Fraction(1, 4), 1 / rate_hz)
    assert (wanted.start / wanted.step_s).denominator == 1
    assert wanted.start <= start and (wanted.start == 0 or wanted.start + wanted.step_s <= start)
    assert wanted.end is not None and wanted.end > start + length


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 40_000), min_size=2, max_size=60, unique=True),
    st.integers(1, 40),
)
def test_two_spans_that_abut_have_the_steps_of_the_whole(moments: list[int], border: int) -> None:
    """Pictures also within a rounding of the border; ticks are a quarter of a millisecond."""
    near = (border * 1000 + beside for beside in (-7, -3, -2, 1))
    ticks = sorted({*moments, *near})
    times = [tick / 4000 for tick in ticks]
    pictures = [flat(7 * i % 251) for i in range(len(times))]
    end = Fraction(12)
    at = Fraction(border, 4)
    whole = track_of(times, pictures, Window(Fraction(0), end))
    parts = [
        track_of(times, pictures, Window(Fraction(0), at)),
        track_of(times, pictures, Window(at, end)),
    ]
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), whole.values)


def test_a_picture_a_rounding_before_the_end_belongs_to_what_follows() -> None:
    """A step begins a millisecond before its time, as a clock of milliseconds may say it then."""
    times, pictures = [0.0, 0.9995, 1.5], [flat(10), flat(90), flat(90)]
    first = track_of(times, pictures, Window(Fraction(0), Fraction(1)))
    second = track_of(times, pictures, Window(Fraction(1), Fraction(2)))
    whole = track_of(times, pictures, Window(Fraction(0), Fraction(2)))
    np.testing.assert_array_equal(np.concatenate([first.values, second.values]), whole.values)
    assert not first.values.any() and second.values[0].all()


# --- files --------------------------------------------------------------------------------------


def test_a_still_video_gives_zeros(tmp_path: Path) -> None:
    values, mask = energy(event_clip(tmp_path / "a.mp4", seconds=3))
    assert values.shape == (12, CELLS) and mask.all()
    assert values.max() < 2, "but for what the codec makes up"
    moving, _ = energy(event_clip(tmp_path / "b.mp4", [(0, 3)], seconds=3))
    assert moving.max() > 5


@pytest.mark.parametrize("pace", sorted(PACES))
def test_there_is_energy_when_and_where_it_moves(tmp_path: Path, pace: str) -> None:
    clip = event_clip(tmp_path / "a.mp4", [(2.0, 4.0)], seconds=SECONDS, pace=pace, seed=3)
    values, mask = energy(clip)
    assert mask.all()
    loud = values.max(axis=1) > 2
    at = np.arange(len(values)) / 4
    assert not loud[at < 1.75].any()
    assert not loud[at > 4.5].any(), "the picture that shows the last movement comes by then"
    inside = (at >= 2.5) & (at < 4.0)
    # Twice a second there is no new picture in every second step: nothing moves then.
    assert loud[inside].mean() >= (0.45 if pace == "slow" else 0.99)
    # The square moves along one row: nothing happens above and below it.
    rows = values[inside].reshape(-1, 12, COLUMNS).mean(axis=(0, 2))
    draw = np.random.default_rng(3)
    draw.integers(20, 90, (HEIGHT // 8, WIDTH // 8))
    top = int(draw.integers(4, HEIGHT - SIDE - 4))
    first, last = top * 12 // HEIGHT, -(-(top + SIDE) * 12 // HEIGHT)
    beside = np.concatenate([rows[: max(0, first - 1)], rows[last + 1 :]])
    assert rows[first + 1 : last - 1].min() > 4 * beside.max()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("pace", sorted(PACES))
def test_a_span_has_the_values_of_the_whole(tmp_path: Path, name: str, pace: str) -> None:
    clip = event_clip(tmp_path / name, [(1.0, 4.3)], seconds=SECONDS, pace=pace)
    whole, _ = energy(clip)
    for begin, end in ((0, 9), (3, 10), (7, 8), (8, 23), (13, len(whole))):
        until = Video(clip).end_s if end == len(whole) else end / RATE_HZ
        span, mask = energy(clip, Window(begin / RATE_HZ, until))
        assert mask.all()
        np.testing.assert_array_equal(span, whole[begin:end])


@pytest.mark.parametrize("rate_hz", [Fraction(1), Fraction(3), Fraction(25, 2), Fraction(30)])
def test_a_span_has_the_values_of_the_whole_at_any_rate(tmp_path: Path, rate_hz: Fraction) -> None:
    clip = event_clip(tmp_path / "a.mkv", [(1.0, 4.3)], seconds=SECONDS, pace="variable")
    whole, _ = energy(clip, rate_hz=rate_hz)
    middle = len(whole) // 2
    parts = [
        Window(Fraction(0), middle / rate_hz),
        Window(middle / rate_hz, Video(clip).end_s),
    ]
    found = np.concatenate([energy(clip, part, rate_hz)[0] for part in parts])
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("late_s", [7.0, 3601.5])
@pytest.mark.parametrize("name", ["b.mkv", "b.ts"])
def test_timestamps_that_start_late_are_taken_off(tmp_path: Path, name: str, late_s: float) -> None:
    usual, _ = energy(event_clip(tmp_path / f"a{name[1:]}", [(1, 2)], seconds=3))
    late, _ = energy(event_clip(tmp_path / name, [(1, 2)], seconds=3, late_s=late_s))
    np.testing.assert_array_equal(usual, late)


def test_before_the_first_picture_nothing_moves(tmp_path: Path) -> None:
    clip = event_clip(tmp_path / "a.mp4", [(2, 3)], seconds=4, late_s=1.1, sound=True)
    values, mask = energy(clip)
    assert mask.all() and len(values) == 16
    assert not values[:4].any() and values[9].max() > 2


def test_a_portrait_is_looked_at_as_it_is_shown(tmp_path: Path) -> None:
    """The square moves along a row of the coded picture: along a column of the shown one."""
    clip = event_clip(tmp_path / "a.mp4", [(1, 3)], seconds=4, rotation=90)
    values, _ = energy(clip)
    shown = values[6:10].reshape(-1, 12, COLUMNS).mean(axis=0)
    assert (shown.max(axis=0) > 1).sum() <= 7, "few columns"
    assert (shown.max(axis=1) > 1).sum() >= 8, "most rows"


def test_a_file_of_sound_alone_has_none(tmp_path: Path) -> None:
    clip = squares_clip(tmp_path / "a.m4a", picture=False, sound=True)
    values, mask = energy(clip)
    assert values.shape == (4, CELLS) and not mask.any()


def test_real_recordings(bikes: Path) -> None:
    values, mask = energy(bikes)
    assert mask.all() and np.isfinite(values).all()
    assert 0.5 < values.mean() < 10
    late, _ = energy(bikes, Window(Fraction(5), Fraction(8)))
    np.testing.assert_array_equal(late, values[20:32])
