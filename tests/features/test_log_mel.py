"""The log-mel spectrogram against the formula, and its steps against the whole."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vmm_cli.errors import InputError
from vmm_cli.features.log_mel import (
    FRAMES_PER_S,
    HOP,
    MELS,
    SAMPLE_RATE,
    SILENCE,
    audio_patches,
    audio_statistics,
    frames_per_step,
    mel_filters,
)
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video


def mel_to_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def reference_filters() -> np.ndarray:
    """Slaney's bands, corner by corner and frequency by frequency."""
    highest = 15 + 27 * np.log(8) / np.log(6.4)
    corners = [mel_to_hertz(highest * i / 81) for i in range(82)]
    filters = np.zeros((80, 201))
    for band in range(80):
        low, middle, high = corners[band : band + 3]
        for k in range(201):
            hertz = 40 * k
            if low < hertz <= middle:
                filters[band, k] = 2 / (high - low) * (hertz - low) / (middle - low)
            elif middle < hertz < high:
                filters[band, k] = 2 / (high - low) * (high - hertz) / (high - middle)
    return filters


def reference_power(samples: np.ndarray) -> np.ndarray:
    """The power in each band, [80, N // 160]: a sum over the samples for each frequency."""
    angles = 2 * np.pi * np.outer(np.arange(400), np.arange(201)) / 400
    window = np.sin(np.pi * np.arange(400) / 400) ** 2
    before, after = samples[200:0:-1], samples[-2:-202:-1]
    mirrored = np.concatenate([before, samples, after]).astype(np.float64)
    count = len(samples) // 160
    frames = np.array([mirrored[160 * i : 160 * i + 400] for i in range(count)]) * window
    power = (frames @ np.cos(angles)) ** 2 + (frames @ np.sin(angles)) ** 2
    return reference_filters() @ power.T


def reference_steps(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mean and deviation by step, [T, 160], frame by frame, for a step of whole frames."""
    log_mel = np.log10(np.maximum(reference_power(samples), 1e-10))
    width = FRAMES_PER_S // rate_hz
    steps = [log_mel[:, i : i + width] for i in range(0, log_mel.shape[1], width)]
    return np.array([np.concatenate([s.mean(axis=1), s.std(axis=1)]) for s in steps])


def whole(path: Path) -> np.ndarray:
    return np.concatenate([block.samples for block in iter_audio(path, SAMPLE_RATE)])


def frames_of(path: Path, count: int) -> np.ndarray:
    """The first `count` frames of a file as steps of a second have them, [80, count]."""
    whole = audio_patches(Video(path), grid(count / FRAMES_PER_S, 1), 1.0)
    patches = whole.values[:, 0]  # [T, 80, 100]
    return np.concatenate([np.zeros((MELS, 0), np.float32), *patches], axis=1)[:, :count]


def as_whisper_takes_it(log_mel: np.ndarray) -> np.ndarray:
    """Cut off 8 decades below the loudest value of all, plus 4, over 4."""
    scaled: np.ndarray = (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4
    return scaled


def grid(end_s: float, rate_hz: int, start_s: float = 0.0) -> np.ndarray:
    return start_s + np.arange(int(np.ceil((end_s - start_s) * rate_hz - 1e-6))) / rate_hz


def voices(vmm_data: Path, count: int) -> list[Path]:
    return sorted((vmm_data / "voices" / "clips").glob("*.flac"))[:: 400 // count][:count]


def fights(vmm_data: Path, count: int) -> list[Path]:
    """Clips with sound."""
    clips = sorted((vmm_data / "fights" / "clips").iterdir())
    heard = (clip for clip in clips[::7] if next(iter_audio(clip, SAMPLE_RATE), None) is not None)
    return [next(heard) for _ in range(count)]


def render(path: Path, parts: list[tuple[float, np.ndarray]], rate: int = SAMPLE_RATE) -> Path:
    """Write parts of sound, each from its second on, as 16-bit samples in packets of 0.1 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for start, samples in parts:
            data = (samples * 32767).astype(np.int16)
            for begin in range(0, len(data), rate // 10):
                piece = np.ascontiguousarray(data[None, begin : begin + rate // 10])
                frame = av.AudioFrame.from_ndarray(piece, "s16", "mono")
                frame.sample_rate = rate
                frame.pts, frame.time_base = round(start * rate) + begin, Fraction(1, rate)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def tone(seconds: float, hertz: float = 440.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


# --- the spectrogram ---------------------------------------------------------------------------


def test_the_bands_are_slaneys() -> None:
    filters = mel_filters()
    np.testing.assert_allclose(filters, reference_filters(), atol=1e-12)
    assert filters[0, 1] == pytest.approx(0.02486259, abs=1e-8)  # as every other tool has it
    assert filters[1, 1:3] == pytest.approx([0.00199082, 0.02287177], abs=1e-8)
    np.testing.assert_allclose(filters[40:].sum(axis=1) * 40, 1, atol=0.08)  # area 1
    assert not filters[:, 0].any()


def test_it_is_whispers(vmm_data: Path, bunny: Path) -> None:
    for path in [*voices(vmm_data, 3), *fights(vmm_data, 2), bunny]:
        samples = whole(path)
        expected = np.log10(np.maximum(reference_power(samples), 1e-10))
        found = frames_of(path, len(samples) // HOP)
        assert found.dtype == np.float32
        np.testing.assert_allclose(
            as_whisper_takes_it(found), as_whisper_takes_it(expected), atol=1e-4
        )


@pytest.mark.extra("speech")
def test_it_is_what_faster_whisper_computes(bunny: Path) -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    samples = whole(bunny)
    expected = FeatureExtractor()(samples, padding=0)
    found = frames_of(bunny, len(samples) // HOP)
    np.testing.assert_allclose(as_whisper_takes_it(found), expected, atol=1e-4)


@pytest.mark.parametrize("count", [1, 159, 160, 200, 201, 401, 1000 * HOP + 1])
def test_any_length_has_its_frames(tmp_path: Path, count: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, count).clip(-1, 1)
    path = render(tmp_path / "noise.wav", [(0, noise)])
    found = frames_of(path, count // HOP + 3)
    assert np.isfinite(found).all()
    assert (found > SILENCE).any(axis=0).sum() == count // HOP


# --- the steps of a grid -----------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [1, 4, 10])
def test_the_steps_are_those_of_the_whole_spectrogram(
    vmm_data: Path, bunny: Path, rate_hz: int
) -> None:
    for path in [*voices(vmm_data, 2), *fights(vmm_data, 2), bunny]:
        samples = whole(path)
        expected = reference_steps(samples, rate_hz)
        times = grid(len(samples) / SAMPLE_RATE + 2, rate_hz)  # longer than the sound
        found = audio_statistics(Video(path), times, 1 / rate_hz)
        assert found.values.shape == (len(expected), 2 * MELS)
        np.testing.assert_array_equal(found.times, times[: len(expected)])
        np.testing.assert_allclose(found.values, expected, atol=1e-4)


SPANS = [(0.0, 1.0), (0.2, 0.4), (0.4, 1.3), (0.6, 100.0), (1.0, 1.7)]


@pytest.mark.parametrize("encode", [audio_statistics, audio_patches])
def test_a_span_has_the_values_of_the_same_steps_of_the_whole(
    vmm_data: Path, bunny: Path, encode: type[audio_statistics]
) -> None:
    for path in [*voices(vmm_data, 3), *fights(vmm_data, 3), bunny]:
        of_whole = encode(Video(path), grid(6, 5), 0.2)
        for start, end in SPANS:
            steps = grid(min(end, 6), 5, start)
            of_span = encode(Video(path), steps, 0.2, start_s=start, end_s=end)
            same = np.searchsorted(of_whole.times, of_span.times - 1e-6)
            begun = (of_whole.times > start - 1e-6) & (of_whole.times < end - 0.01)
            assert len(of_span) == begun.sum()
            uncut = of_span.times + 0.2 < end + 1e-6
            np.testing.assert_allclose(
                of_span.values[uncut], of_whole.values[same][uncut], atol=1e-3, err_msg=path.name
            )


@pytest.mark.parametrize("name", ["speech.wav", "speech.mkv"])
def test_so_it_has_where_the_span_is_sought(vmm_data: Path, tmp_path: Path, name: str) -> None:
    speech = np.concatenate([whole(path) for path in voices(vmm_data, 10)])
    path = render(tmp_path / name, [(0, speech)])
    assert len(speech) >= 20 * SAMPLE_RATE
    of_whole = audio_statistics(Video(path), grid(20, 4), 0.25)
    for start, end in [(6.0, 8.0), (7.25, 20.0), (17.5, 19.0)]:
        of_span = audio_statistics(Video(path), grid(end, 4, start), 0.25, start_s=start, end_s=end)
        expected = of_whole.values[round(start * 4) : round(end * 4)]
        np.testing.assert_allclose(of_span.values, expected, atol=1e-3)


def test_a_step_that_the_end_cuts_has_the_frames_before_it(bunny: Path) -> None:
    cut = audio_statistics(Video(bunny), np.array([1.0, 2.0]), 1.0, start_s=1.0, end_s=2.3)
    short = audio_statistics(Video(bunny), np.array([2.0]), 0.3)
    np.testing.assert_allclose(cut.values[1], short.values[0], atol=1e-6)
    patches = audio_patches(Video(bunny), np.array([1.0, 2.0]), 1.0, start_s=1.0, end_s=2.3)
    assert (patches.values[1, :, :, 30:] == SILENCE).all()
    assert (patches.values[1, :, :, :30] > SILENCE).any()


def test_what_comes_before_the_start_does_not_count(bunny: Path) -> None:
    late = audio_statistics(Video(bunny), np.array([1.0]), 1.0, start_s=1.4)
    part = audio_statistics(Video(bunny), np.array([1.4]), 0.6)
    np.testing.assert_allclose(late.values, part.values, atol=1e-6)


def test_a_late_start_and_a_gap_are_silence(tmp_path: Path) -> None:
    path = render(tmp_path / "tone.mkv", [(1.0, tone(1)), (4.0, tone(0.995))])
    with av.open(str(path)) as container:
        assert container.start_time  # the clock would begin with the tone, were there no pictures
    with av.open(str(path)) as tones, av.open(str(tmp_path / "all.mkv"), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream_from_template(tones.streams.audio[0])
        for index in range(30):
            picture = av.VideoFrame(32, 32, "yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 5)
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode())
        for packet in tones.demux():
            if packet.dts is not None:
                packet.stream = sound
                container.mux(packet)
    found = audio_statistics(Video(tmp_path / "all.mkv"), grid(6, 4), 0.25)
    assert len(found) == 20  # the sound ends at 5 s, the pictures at 6 s
    silent = [k for k in range(20) if k / 4 not in (1, 1.25, 1.5, 1.75, 4, 4.25, 4.5, 4.75)]
    away = [k for k in silent if k + 1 not in (4, 16) and k not in (8,)]  # windows reach 12.5 ms
    np.testing.assert_allclose(found.values[away, :MELS], SILENCE, atol=1e-6)
    np.testing.assert_allclose(found.values[away, MELS:], 0, atol=1e-6)
    band = int(mel_filters()[:, 440 // 40].argmax())
    for k in set(range(20)) - set(silent):
        assert found.values[k, :MELS].argmax() == band
        assert found.values[k, band] > 0


def test_without_sound_there_are_no_steps(bikes: Path, bunny: Path) -> None:
    assert audio_statistics(Video(bikes), grid(10, 5), 0.2).values.shape == (0, 2 * MELS)
    assert audio_patches(Video(bikes), grid(10, 5), 0.2).values.shape == (0, 1, MELS, 20)
    beyond = grid(70, 5, 60)
    assert len(audio_statistics(Video(bunny), beyond, 0.2, start_s=60, end_s=70)) == 0
    assert len(audio_statistics(Video(bunny), np.empty(0), 0.2)) == 0


@pytest.mark.parametrize("rate_hz", [1, 3, 6, 8, 20])
def test_patches_are_the_frames_behind_the_statistics(bunny: Path, rate_hz: int) -> None:
    samples = whole(bunny)
    log_mel = np.log10(np.maximum(reference_power(samples), 1e-10))
    times = grid(7, rate_hz)
    found = audio_patches(Video(bunny), times, 1 / rate_hz)
    width = round(100 / rate_hz)
    assert frames_per_step(1 / rate_hz) == width
    assert found.values.shape[1:] == (1, MELS, width)
    for time, patch in zip(found.times, found.values[:, 0], strict=True):
        first = int(np.ceil(time * 100 - 1e-6))
        expected = log_mel[:, first : first + width]
        np.testing.assert_allclose(patch[:, : expected.shape[1]], expected, atol=1e-3)
        assert (patch[:, expected.shape[1] :] == SILENCE).all()


def test_a_step_without_a_frame_is_refused(bunny: Path) -> None:
    with pytest.raises(ValueError, match="shorter than a frame"):
        audio_statistics(Video(bunny), grid(1, 5), 0.004)
    with pytest.raises(ValueError, match="shorter than a frame"):
        audio_patches(Video(bunny), grid(1, 5), 0.004)


def test_a_file_that_is_none_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        audio_statistics(Video(tmp_path / "absent.mp4"), grid(1, 5), 0.2)


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    peaks = []
    for seconds in (10, 60):
        path = render(tmp_path / f"{seconds}.wav", [(0, tone(seconds))])
        tracemalloc.start()
        found = audio_statistics(Video(path), grid(seconds, 2), 0.5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found) == seconds * 2
    assert peaks[1] < peaks[0] + 2**19  # the sound is 3.2 MB longer, the sums 0.1 MB
