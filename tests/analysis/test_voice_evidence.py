"""What voices say of real speech, however it is stored, and of files without any."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vmm_cli import bundles
from vmm_cli.analysis.sentiment import voice as voice_evidence_module
from vmm_cli.analysis.sentiment.evidence import valence_of
from vmm_cli.analysis.sentiment.voice import VoiceHeard, voice_evidence
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import store
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

RATE = 16000


@pytest.fixture(scope="module")
def voice() -> Bundle:
    return bundles.load("sentiment/voice")


def heard(
    path: Path,
    bundle: Bundle,
    start: Fraction | int = 0,
    end: Fraction | int | None = None,
    keep: bool = False,
) -> VoiceHeard:
    until = None if end is None else Fraction(end)
    return voice_evidence(Video(path, start=Fraction(start), end=until), bundle, keep_features=keep)


def spoken(vmm_data: Path, *names: str) -> np.ndarray:
    folder = vmm_data / "voices" / "clips"
    return np.concatenate(
        [b.samples for name in names for b in iter_audio(folder / f"{name}.flac", RATE)]
    )


def write(
    path: Path,
    samples: np.ndarray,
    *,
    rate: int = RATE,
    layout: str = "mono",
    codec: str = "pcm_s16le",
    late_s: float = 0.0,
    pictures: int = 0,
) -> Path:
    """Write sound, the same in all channels, from `late_s` on, after some pictures of 1/10 s."""
    with av.open(os.fspath(path), "w") as container:
        if pictures:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout=layout)
        for i in range(pictures):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            picture.pts = i
            container.mux(video.encode(picture.reformat(format="yuv420p")))
        if pictures:
            container.mux(video.encode())
        resampler = av.AudioResampler(format=sound.codec_context.format, layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(
            np.clip(samples, -1, 1).astype(np.float32)[None], format="flt", layout="mono"
        )
        frame.sample_rate = RATE
        resampled = [*resampler.resample(frame), *resampler.resample(None)]
        fifo = av.AudioFifo()
        for one in resampled:
            one.pts = None
            fifo.write(one)
        size, at = sound.codec_context.frame_size or 1024, round(late_s * rate)
        while (part := fifo.read(size, partial=True)) is not None:
            part.pts, part.time_base = at, Fraction(1, rate)
            at += part.samples
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return path


def test_an_angry_voice_is_angry_and_a_sad_one_sad(voice: Bundle, vmm_data: Path) -> None:
    for name, emotion in (("13a01Wb", "anger"), ("13a02Ta", "sadness")):
        clip = vmm_data / "voices" / "clips" / f"{name}.flac"
        if not clip.is_file():
            pytest.skip(f"{clip} is not there")
        found = heard(clip, voice)
        assert found.missing is None
        evidence = found.evidence
        assert evidence.expert == "voice"
        covered = ("anger", "disgust", "fear", "happiness", "sadness", "neutral")
        assert evidence.emotions == covered
        assert evidence.emotions[evidence.probabilities[0].argmax()] == emotion
        assert evidence.valence[0] < 0
        np.testing.assert_allclose(evidence.probabilities.sum(axis=1), 1, atol=1e-5)
        expected = valence_of(evidence.probabilities, evidence.emotions)
        np.testing.assert_allclose(evidence.valence, expected)
        assert (evidence.confidence > 0.7).all() and (evidence.confidence <= 1).all()


def test_boredom_counts_as_neutral(voice: Bundle, vmm_data: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", spoken(vmm_data, "03a01Nc"))
    whole = heard(path, voice).evidence
    neutral = whole.probabilities[:, whole.emotions.index("neutral")]
    assert neutral[0] > 0.5


def test_short_words_count_less(voice: Bundle, vmm_data: Path, tmp_path: Path) -> None:
    long = spoken(vmm_data, "03a01Fa")
    word = np.concatenate([np.zeros(RATE), long[RATE // 2 : RATE], np.zeros(RATE)])
    short = heard(write(tmp_path / "a.wav", word), voice).evidence
    assert len(short.confidence) == 1
    whole = heard(write(tmp_path / "b.wav", long), voice).evidence
    assert short.confidence[0] < 0.8 * whole.confidence[0]


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 8000},
        {"layout": "5.1", "codec": "aac", "rate": 48000},
        {"layout": "stereo", "codec": "aac", "rate": 44100, "late_s": 1.5, "pictures": 20},
        {"codec": "aac", "rate": 48000, "pictures": 10},  # they end long before the sound
    ],
    ids=["8 kHz", "six channels", "late", "longer than the pictures"],
)
def test_speech_is_heard_however_it_is_stored(
    options: dict[str, object], voice: Bundle, vmm_data: Path, tmp_path: Path
) -> None:
    late_s = float(str(options.get("late_s", 0)))
    samples = np.concatenate([np.zeros(2 * RATE), spoken(vmm_data, "03a01Wa")])
    path = write(tmp_path / "a.mkv", samples, **options)
    found = heard(path, voice)
    assert found.missing is None
    assert len(found.evidence.start_s) == 1
    assert 1.7 < found.evidence.start_s[0] - late_s < 2.5
    assert 3 < found.evidence.end_s[0] - late_s < 4.2
    assert found.evidence.emotions[found.evidence.probabilities[0].argmax()] == "anger"


def test_a_span_is_heard_alone(voice: Bundle, vmm_data: Path, tmp_path: Path) -> None:
    samples = spoken(vmm_data, "03a01Fa", "03a01Wa", "03a02Fc")
    path = write(tmp_path / "a.wav", samples)
    evidence = heard(path, voice, 2, 4).evidence
    assert len(evidence.start_s)
    assert (evidence.start_s >= 2).all() and (evidence.end_s <= 4).all()


def test_features_are_kept_only_if_that_is_asked_for(
    voice: Bundle, vmm_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", spoken(vmm_data, "03a01Fa", "03a01Wa"))
    cold = heard(path, voice).evidence
    assert store.info().entries == 0
    kept = heard(path, voice, keep=True).evidence
    assert store.info().entries == 1
    with monkeypatch.context() as patch:
        patch.setattr(voice_evidence_module, "_heard", None)  # it is not listened to again
        warm = heard(path, voice, keep=True).evidence
    for one in (kept, warm):
        np.testing.assert_array_equal(one.probabilities, cold.probabilities)
        np.testing.assert_array_equal(one.end_s, cold.end_s)
        np.testing.assert_array_equal(one.confidence, cold.confidence)
    heard(path, voice, 1, keep=True)
    assert store.info().entries == 2


@pytest.mark.parametrize("keep", [False, True])
def test_nobody_speaks(keep: bool, voice: Bundle, tmp_path: Path) -> None:
    t = np.arange(3 * RATE) / RATE
    for name, samples in {
        "silence": 0 * t,
        "music": sum(0.2 * np.sin(2 * np.pi * f * t) for f in (262, 330, 392)),
        "noise": np.random.default_rng(0).normal(0, 0.1, len(t)),
    }.items():
        path = write(tmp_path / f"{name}.wav", samples)
        for _ in range(2):
            found = heard(path, voice, keep=keep)
            assert found.missing is not None and found.missing.code == "no_speech"
            assert len(found.evidence.start_s) == 0
            assert found.evidence.probabilities.shape == (0, 6)


def test_no_sound_is_an_answer(voice: Bundle, bikes: Path) -> None:
    found = heard(bikes, voice, 1)
    assert found.missing is not None and found.missing.code == "no_audio"


def test_nothing_lies_past_the_end(voice: Bundle, bunny: Path, bikes: Path, tmp_path: Path) -> None:
    sound = write(tmp_path / "a.wav", np.zeros(2 * RATE))
    for path in (bunny, bikes, sound):
        with pytest.raises(InputError, match="nothing lies at 100 s") as caught:
            heard(path, voice, 100)
        assert caught.value.code == "past_end"


def test_sound_may_end_before_the_pictures(voice: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", np.zeros(RATE), pictures=50)
    found = heard(path, voice, 3)
    assert found.missing is not None and found.missing.code == "no_audio"


def test_what_cannot_be_read_is_an_error(voice: Bundle, tmp_path: Path) -> None:
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"no film at all" * 100)
    with pytest.raises(InputError):
        heard(broken, voice)
    with pytest.raises(InputError) as caught:
        heard(tmp_path / "b.mp4", voice, keep=True)
    assert caught.value.code == "missing"


def test_a_model_of_other_labels_is_refused(voice: Bundle, bunny: Path) -> None:
    other = replace(voice, labels=("anger", "hunger"))
    with pytest.raises(ModelError, match="hunger"):
        heard(bunny, other)
