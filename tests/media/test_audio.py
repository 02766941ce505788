"""The sound on the clock: rates, channels, late starts, gaps, windows, damage."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vmm_cli.errors import InputError
from vmm_cli.media.audio import AudioBlock, Samples, _laid_out, _pieces, _Wanted, iter_audio

RATE = 16000


def tone(seconds: float, rate: int, hertz: float = 440.0, start: float = 0.0) -> np.ndarray:
    times = start + np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def render_sound(
    path: Path,
    parts: Sequence[tuple[float, np.ndarray]],
    *,
    rate: int,
    layout: str = "mono",
    codec: str = "pcm_f32le",
    picture_s: float = 0.0,
) -> Path:
    """Write parts of sound [channels, N], each from its second on, beside pictures from 0 s."""
    with av.open(str(path), "w") as container:
        pictures = None
        if picture_s:
            pictures = container.add_stream("mpeg4", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if pictures is not None:
            for index in range(round(picture_s * 10)):
                picture = av.VideoFrame(32, 32, "yuv420p")
                picture.pts, picture.time_base = index, Fraction(1, 10)
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode())
        for start, samples in parts:
            channels = np.atleast_2d(samples)
            for begin in range(0, channels.shape[1], 1000):
                # packed: one row, the channels taking turns
                piece = channels[:, begin : begin + 1000].T.reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "flt", layout)
                frame.sample_rate = rate
                frame.pts = round(start * rate) + begin
                frame.time_base = Fraction(1, rate)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def joined(blocks: Sequence[AudioBlock]) -> Samples:
    return np.concatenate([b.samples for b in blocks]) if blocks else np.zeros(0, np.float32)


def read(path: Path, rate: int = RATE, **window: float) -> Samples:
    """Read all sound, and check what holds for every reading."""
    blocks = list(iter_audio(path, rate, **window))
    position = round(window.get("start", 0.0) * rate)
    for block in blocks:
        assert block.samples.dtype == np.float32
        assert block.samples.ndim == 1
        assert 0 < len(block.samples) <= rate
        assert block.time_s == pytest.approx(position / rate, abs=1e-9)
        assert np.isfinite(block.samples).all()
        assert np.abs(block.samples).max() <= 1
        position += len(block.samples)
    return joined(blocks)


def pitch(samples: Samples, rate: int) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


@pytest.mark.parametrize("source_rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_tone_keeps_pitch_phase_and_length(tmp_path: Path, source_rate: int, rate: int) -> None:
    path = render_sound(tmp_path / "tone.wav", [(0, tone(2, source_rate))], rate=source_rate)
    samples = read(path, rate)
    assert len(samples) == 2 * rate
    assert pitch(samples, rate) == pytest.approx(440, abs=1)
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(samples[middle], tone(2, rate)[middle], atol=2e-3)


def test_a_late_start_is_silence(tmp_path: Path) -> None:
    path = render_sound(tmp_path / "late.mkv", [(1.5, tone(1, 8000))], rate=8000, picture_s=3)
    samples = read(path)
    assert len(samples) == pytest.approx(2.5 * RATE, abs=RATE // 1000)
    assert not samples[: round(1.499 * RATE)].any()
    assert np.abs(samples[round(1.501 * RATE) :]).max() > 0.4


def test_a_gap_is_silence_and_what_follows_is_in_its_place(tmp_path: Path) -> None:
    parts = [(0, tone(1, 16000)), (2.5, tone(1, 16000, start=2.5))]
    samples = read(render_sound(tmp_path / "gap.mkv", parts, rate=16000, picture_s=4))
    assert len(samples) == pytest.approx(3.5 * RATE, abs=RATE // 500)
    assert not samples[round(1.02 * RATE) : round(2.48 * RATE)].any()
    np.testing.assert_allclose(samples[: RATE // 2], tone(0.5, RATE), atol=1e-3)
    after = slice(round(2.6 * RATE), round(3.4 * RATE))
    # Matroska gives times to the millisecond: half of one at 440 Hz is up to .7 of the amplitude
    assert pitch(samples[after], RATE) == pytest.approx(440, abs=2)
    assert np.abs(samples[after]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("layout", "count"), [("stereo", 2), ("5.1", 6)])
def test_all_channels_are_heard_and_none_too_loud(tmp_path: Path, layout: str, count: int) -> None:
    alike = np.tile(tone(1, RATE), (count, 1))
    name = f"{count}.wav"
    same = read(render_sound(tmp_path / name, [(0, alike)], rate=RATE, layout=layout))
    np.testing.assert_allclose(same, tone(1, RATE), atol=1e-4)
    for channel in range(count):
        alone = np.zeros_like(alike)
        alone[channel] = alike[channel]
        mixed = read(render_sound(tmp_path / name, [(0, alone)], rate=RATE, layout=layout))
        if (layout, channel) == ("5.1", 3):  # low frequency effects are left out, as is the habit
            assert not mixed.any()
        else:
            assert 0.05 < np.abs(mixed).max() <= 0.26


def test_the_window_is_kept_to_the_sample(tmp_path: Path) -> None:
    path = render_sound(tmp_path / "whole.wav", [(0, tone(20, RATE))], rate=RATE)
    whole = read(path)
    for start, end in [(0.0, 0.25), (0.3, 1.7), (7.77, 9.123), (12.0001, 12.5), (19.5, 30.0)]:
        part = read(path, start=start, end=end)
        np.testing.assert_array_equal(part, whole[round(start * RATE) : round(end * RATE)])
    assert len(read(path, start=25)) == 0


def test_seeking_in_a_container_gives_the_same_sound(tmp_path: Path) -> None:
    path = render_sound(
        tmp_path / "long.mp4", [(0, tone(40, 44100))], rate=44100, codec="aac", picture_s=40
    )
    whole = read(path)
    part = read(path, start=30.5, end=31.5)
    # where the first packet read begins between two samples, it is taken to the nearest: half a
    # sample of a 440 Hz tone is .043
    np.testing.assert_allclose(part, whole[round(30.5 * RATE) : round(31.5 * RATE)], atol=0.045)


def test_files_without_sound_give_none(bikes: Path) -> None:
    assert list(iter_audio(bikes, RATE)) == []


def test_a_real_clip(bunny: Path) -> None:
    samples = read(bunny)
    assert len(samples) / RATE == pytest.approx(5.3, abs=0.2)
    assert np.abs(samples).max() > 0.01


def test_bad_packets_become_silence(tmp_path: Path) -> None:
    path = render_sound(
        tmp_path / "damaged.mkv", [(0, tone(3, RATE))], rate=RATE, codec="flac", picture_s=3
    )
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    samples = read(path)
    assert len(samples) > 2.5 * RATE
    assert pitch(samples[: RATE // 2], RATE) == pytest.approx(440, abs=2)
    assert pitch(samples[-RATE // 2 :], RATE) == pytest.approx(440, abs=2)


def a_frame(time: int, samples: int = 160) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ones((1, samples), np.float32), "flt", "mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, time, Fraction(1, RATE)
    return frame


def test_overlaps_are_left_out() -> None:
    frames = [a_frame(0, 1600), a_frame(800, 1600), a_frame(2400, 1600)]
    pieces = _pieces(frames, _Wanted(RATE, "mono"), Fraction(0), Fraction(1))
    assert sum(map(len, _laid_out(pieces, 0, None, RATE))) == 4000
    pieces = _pieces(frames, _Wanted(RATE, "mono"), Fraction(0), Fraction(1))
    assert sum(map(len, _laid_out(pieces, 1000, 2500, RATE))) == 1500


@pytest.mark.parametrize("wrong_s", [-500, 100_000])
def test_impossible_timestamps_are_passed_over(wrong_s: int) -> None:
    frames = [a_frame(0), a_frame(wrong_s * RATE), a_frame(320)]
    pieces = list(_pieces(frames, _Wanted(RATE, "mono"), Fraction(0), Fraction(60)))
    assert [position for position, _ in pieces] == [0, 160, 320]
    pieces = list(
        _pieces([a_frame(0), a_frame(wrong_s * RATE)], _Wanted(RATE, "mono"), Fraction(0), None)
    )
    assert [position for position, _ in pieces] == [0, 160]


def test_hours_of_gap_take_no_memory(tmp_path: Path) -> None:
    parts = [(0, tone(1, 8000)), (3 * 3600.0, tone(1, 8000))]
    path = render_sound(tmp_path / "hours.mkv", parts, rate=8000, picture_s=1)
    tracemalloc.start()
    count = sum(len(block.samples) for block in iter_audio(path, 8000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == pytest.approx((3 * 3600 + 1) * 8000, abs=100)
    assert peak < 5e6


def test_memory_does_not_grow_with_the_duration(tmp_path: Path) -> None:
    peaks = []
    for seconds in (5, 100):
        path = render_sound(tmp_path / f"{seconds}.wav", [(0, tone(seconds, 8000))], rate=8000)
        tracemalloc.start()
        for _ in iter_audio(path, RATE):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_wrong_arguments(bunny: Path) -> None:
    with pytest.raises(ValueError, match="rate"):
        iter_audio(bunny, 0)
    with pytest.raises(ValueError, match="negative"):
        iter_audio(bunny, RATE, start=-1)
    with pytest.raises(ValueError, match="after start"):
        iter_audio(bunny, RATE, start=2, end=2)
    with pytest.raises(InputError):
        list(iter_audio(Path("no such file.mp4"), RATE))
