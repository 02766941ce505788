"""Stretches: that they cover a video, abut, and are taken apart and put together again."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events import event_clip
from vmm_cli.features import chunks as module
from vmm_cli.features import store
from vmm_cli.features.chunks import chunks_are_stored, chunks_of, cut, joined
from vmm_cli.features.grid import ROUNDING_S, Window, grid_times
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.windows import window_features
from vmm_cli.media.video import Video

RATE_HZ = Fraction(4)


def plan(*streams: str) -> StreamPlan:
    names = {"motion": "motion-energy", "audio": "log-mel-statistics"}
    length = Fraction(4)
    encoders = {stream: encoder_spec(stream, names[stream], length) for stream in streams}
    return StreamPlan(encoders, RATE_HZ, length)


@given(
    st.fractions(0, 100, max_denominator=90_000),
    st.fractions(Fraction(1, 90_000), 2000, max_denominator=90_000),
    st.sampled_from([Fraction(1, 3), Fraction(2), Fraction(4), Fraction("12.5"), Fraction(30)]),
)
def test_stretches_abut_and_have_the_steps_of_the_whole(
    start: Fraction, length: Fraction, rate_hz: Fraction
) -> None:
    end = start + length
    found = chunks_of(start, end, rate_hz)
    assert found[0].start == start and end - found[-1].end <= ROUNDING_S
    for before, after in itertools.pairwise(found):
        assert before.end == after.start
        assert len(grid_times(before, rate_hz)) == module.CHUNK_STEPS
    steps = np.concatenate([grid_times(stretch, rate_hz) for stretch in found])
    assert np.array_equal(steps, grid_times(Window(start, end), rate_hz))


def test_a_short_video_is_one_stretch() -> None:
    assert chunks_of(Fraction(0), Fraction(1, 25), RATE_HZ) == [
        Window(Fraction(0), Fraction(1, 25))
    ]


@pytest.mark.parametrize("size", [4, 7, 16])
def test_joined_stretches_show_what_the_whole_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    clip = event_clip(
        tmp_path / "a.mkv", [(1, 4)], seconds=6.1, pace="variable", sound=True, late_s=1.2
    )
    wanted, end = plan("motion", "audio"), Video(clip).end_s
    (whole,) = window_features(Video(clip), [Window(Fraction(0), end)], wanted, use_store=False)
    monkeypatch.setattr(module, "CHUNK_STEPS", size)
    parts = chunks_of(Fraction(0), end, RATE_HZ)
    assert len(parts) > 1
    found = joined([window_features(Video(clip), [p], wanted, use_store=False)[0] for p in parts])
    assert found.window == whole.window
    np.testing.assert_array_equal(found.times, whole.times)
    np.testing.assert_array_equal(found.values["motion"], whole.values["motion"])
    # A lossy decoder that begins in the middle makes up other noise: see `audio_statistics`.
    np.testing.assert_allclose(found.values["audio"], whole.values["audio"], atol=0.2)
    for stream in ("motion", "audio"):
        np.testing.assert_array_equal(found.masks[stream], whole.masks[stream])


@given(st.integers(1, 20), st.data())
def test_what_is_cut_and_joined_is_the_same(steps: int, data: st.DataObject) -> None:
    window = Window(Fraction(3, 2), Fraction(3, 2) + steps / RATE_HZ)
    times = grid_times(window, RATE_HZ)
    values = {"motion": np.arange(steps * 2.0).reshape(steps, 2)}
    masks = {"motion": np.arange(steps) % 3 > 0}
    whole = module.WindowFeatures(window, times, values, masks)
    at = data.draw(st.integers(0, steps))
    parts = [cut(whole, a, b) for a, b in ((0, at), (at, steps)) if a < b]
    again = joined(parts)
    assert again.window == window
    assert np.array_equal(again.times, times)
    assert np.array_equal(again.values["motion"], values["motion"])
    assert np.array_equal(again.masks["motion"], masks["motion"])


def test_the_store_is_known_to_hold_all_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: None
) -> None:
    monkeypatch.setattr(module, "CHUNK_STEPS", 8)
    clip, wanted = event_clip(tmp_path / "a.mp4", seconds=5), plan("motion")
    parts = chunks_of(Fraction(0), Video(clip).end_s, RATE_HZ)
    assert len(parts) == 3
    for number, stretch in enumerate(parts):
        assert not chunks_are_stored(Video(clip), parts, wanted), number
        window_features(Video(clip), [stretch], wanted)
    assert chunks_are_stored(Video(clip), parts, wanted)
    assert store.info().entries == 3
    assert not chunks_are_stored(Video(clip), parts, plan("motion", "audio"))
    event_clip(clip, [(0, 1)], seconds=5)
    assert not chunks_are_stored(Video(clip), parts, wanted), "it is another file now"
