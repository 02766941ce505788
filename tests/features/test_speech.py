"""Where somebody speaks, and how: on real voices, and on sounds that are none."""

from __future__ import annotations

import os
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.features.test_log_mel import as_whisper_takes_it, frames_of
from vmm_cli import bundles
from vmm_cli.features import speech
from vmm_cli.features.speech import (
    CARRIER,
    CHUNK,
    LONGEST,
    SAMPLE_RATE,
    SPEECH_WIDTH,
    SpeechNetworks,
    VoicedPiece,
    load_networks,
    log_mel,
    speech_features,
    voice_features,
    voiced_pieces,
)
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video
from vmm_cli.networks.pretrained.shapes import CONTEXT, STATE

pytestmark = pytest.mark.usefixtures("one_thread")


def by_engine(engine: str) -> SpeechNetworks:
    speech._networks.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", engine)
        return load_networks(bundles.read(bundles.find(CARRIER)))


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def networks(request: pytest.FixtureRequest) -> SpeechNetworks:
    return by_engine(request.param)


@pytest.mark.parametrize("seconds", [0.02, 0.5, 3.3, 5.98])
def test_graphs_give_what_pytorch_gives(said: np.ndarray, seconds: float) -> None:
    ours, theirs = (by_engine(engine) for engine in ("onnxruntime", "torch"))
    samples = said[: round(seconds * SAMPLE_RATE)]
    states = [speech.speech_states(one, samples) for one in (ours, theirs)]
    assert states[0].shape == (-(-(len(samples) // 160) // 2), 384)
    np.testing.assert_allclose(*states, rtol=0, atol=2e-3)
    chunks = np.lib.stride_tricks.sliding_window_view(said, CONTEXT + CHUNK)[::CHUNK]
    found = []
    for one in (ours, theirs):
        state = [np.zeros((1, 1, STATE), np.float32)] * 2
        chances = []
        for part in (chunks[:1], chunks[1:40], chunks[40:]):  # a state goes on
            chance, *state = one.activity(np.array(part[None]), *state)
            chances.append(chance[0])
        found.append(np.concatenate(chances))
    assert found[0].shape == (len(chunks),)
    assert found[0].max() > 0.9
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4)


def write_sound(path: Path, samples: np.ndarray) -> Path:
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def said(vmm_data: Path) -> np.ndarray:
    """Four sentences, eight seconds, hardly a pause between them."""
    clips = sorted((vmm_data / "voices" / "clips").glob("03*.flac"))[:4]
    return np.concatenate([b.samples for clip in clips for b in iter_audio(clip, SAMPLE_RATE)])


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


SOUNDS = {
    "silence": lambda t: 0 * t,
    "tone": lambda t: 0.5 * np.sin(2 * np.pi * 440 * t),
    "chord": lambda t: sum(0.2 * np.sin(2 * np.pi * f * t) for f in (262, 330, 392)),
    "noise": lambda t: np.random.default_rng(0).normal(0, 0.1, len(t)),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_nobody_speaks_in_silence_music_and_noise(
    name: str, networks: SpeechNetworks, tmp_path: Path
) -> None:
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    path = write_sound(tmp_path / "a.wav", SOUNDS[name](t))
    assert list(voiced_pieces(networks, Video(path))) == []
    assert len(voice_features(Video(path), np.arange(4.0), 1.0)) == 0


def test_pieces_hold_what_is_said_and_know_when(
    networks: SpeechNetworks, said: np.ndarray, tmp_path: Path
) -> None:
    sentence = said[: 2 * SAMPLE_RATE]
    whole = np.concatenate([silence(3), sentence, silence(4), sentence, silence(1)])
    path = write_sound(tmp_path / "a.wav", whole)
    first, second = voiced_pieces(networks, Video(path))
    for piece, begin in ((first, 3), (second, 9)):
        assert begin - 0.3 < piece.start_s < begin + 0.5
        assert begin + 1 < piece.end_s < begin + 2.3
        assert piece.activity > 0.7
        assert 0.8 < piece.spoken_s < piece.end_s - piece.start_s
        at = round(piece.start_s * SAMPLE_RATE)
        here = whole[at : at + len(piece.samples)]
        np.testing.assert_allclose(piece.samples, here, atol=1e-4)


def test_who_speaks_long_is_cut_into_pieces_without_a_hole(
    networks: SpeechNetworks, said: np.ndarray, tmp_path: Path
) -> None:
    talk = np.concatenate([s[np.abs(s) > 0] for s in np.split(said, 4)] * 3)
    pieces = list(voiced_pieces(networks, Video(write_sound(tmp_path / "a.wav", talk))))
    assert max(len(piece.samples) for piece in pieces) <= LONGEST * CHUNK
    assert len(pieces) >= 3
    spoken = sum(piece.end_s - piece.start_s for piece in pieces)
    assert spoken > 0.9 * len(talk) / SAMPLE_RATE
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(pieces))


def test_a_span_is_heard_alone(networks: SpeechNetworks, said: np.ndarray, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", np.concatenate([silence(2), said]))
    (piece, *_) = voiced_pieces(networks, Video(path), start_s=4.5, end_s=5.5)
    assert 4.5 <= piece.start_s < piece.end_s <= 5.5
    assert not list(voiced_pieces(networks, Video(path), start_s=0.0, end_s=1.5))


@given(st.lists(st.floats(0, 1), max_size=600))
def test_pieces_of_any_course_of_probabilities_are_short_apart_and_spoken(
    chances: list[float],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        chunk = np.zeros(CHUNK, np.float32)
        patch.setattr(speech, "_chunks", lambda *_: ((chunk, chance) for chance in chances))
        none = SpeechNetworks(None, None)
        pieces: list[VoicedPiece] = list(voiced_pieces(none, Video(Path("a.wav"))))
    for piece in pieces:
        assert len(piece.samples) <= LONGEST * CHUNK
        assert 0.25 < piece.spoken_s <= piece.end_s - piece.start_s + 1e-9
        assert piece.start_s >= 0 and piece.end_s <= len(chances) * CHUNK / SAMPLE_RATE + 1e-9
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(pieces))


def test_the_spectrogram_is_whispers(said: np.ndarray, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", said[: 3 * SAMPLE_RATE])
    samples = np.concatenate([b.samples for b in iter_audio(path, SAMPLE_RATE)])
    found = log_mel(samples)
    expected = as_whisper_takes_it(frames_of(path, 300))
    np.testing.assert_allclose(found[:, :-2], expected[:, :-2], atol=1e-3)


def test_steps_know_what_is_said_around_them(
    networks: SpeechNetworks, said: np.ndarray, tmp_path: Path
) -> None:
    sentence = said[: 2 * SAMPLE_RATE]
    path = write_sound(tmp_path / "a.wav", np.concatenate([silence(4), sentence, silence(4)]))
    times = np.arange(0, 10, 0.5)
    features = voice_features(Video(path), times, 0.5)
    assert features.values.shape[1] == SPEECH_WIDTH
    assert features.times.min() >= 3.5 and features.times.max() <= 6
    (piece,) = voiced_pieces(networks, Video(path))
    # Around the middle there is all of a piece of two seconds.
    middle = voice_features(Video(path), np.array([4.5]), 1.0).values[0]
    np.testing.assert_allclose(middle, speech_features(networks, piece.samples), atol=0.2)
    cut = voice_features(Video(path), times[:9], 0.5, end_s=4.5)
    assert features.times[0] in cut.times
    assert len(voice_features(Video(path), times[:4], 0.5, end_s=2.0)) == 0
