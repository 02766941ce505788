"""Sounds against the package that their network is from, and parts of a file against the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.made_sounds import RATE, made_sounds
from vmm_cli import bundles
from vmm_cli.errors import ModelError
from vmm_cli.features import store
from vmm_cli.features.catalogue import ENCODERS
from vmm_cli.features.grid import Window
from vmm_cli.features.plan import StreamPlan, encoder_spec
from vmm_cli.features.sounds import (
    CARRIER,
    PATCH,
    PATCH_HOP,
    SETTINGS,
    STREAM,
    load_network,
    log_mel,
    mel_filters,
    sound_features,
    sound_head,
    sound_patches,
    sound_scores,
    sounds_digest,
    steps_of_sounds,
)
from vmm_cli.features.windows import window_features
from vmm_cli.media.audio import iter_audio
from vmm_cli.media.video import Video

NAME = "sounds"
# The package's ONNX graph, run once by tools/convert_yamnet.py --numbers: as it is ("rounded": what
# each layer gives has 8 bits), and with that rounding left out ("exact").
NUMBERS = json.loads((Path(__file__).parents[1] / "data" / "yamnet.json").read_text())
LAYOUTS = {"mono": 1, "stereo": 2, "5.1": 6}


@pytest.fixture(scope="module")
def model() -> bundles.Bundle:
    return bundles.load(CARRIER)


def sound_file(path: Path, samples: np.ndarray, rate: int = RATE, layout: str = "mono") -> Path:
    """Write a sound, the same in every channel, as 16-bit samples."""
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        data = np.repeat((samples * 32767).astype(np.int16), LAYOUTS[layout])
        frame = av.AudioFrame.from_ndarray(data[None], "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def scored(model: bundles.Bundle, samples: np.ndarray) -> dict[str, float]:
    """Return the scores of a sound's first patch."""
    patch = log_mel(samples[:PATCH])[None]
    (scores,) = sound_scores(sound_head(model), load_network(model)(patch))
    return dict(zip(model.labels, scores.tolist(), strict=True))


def best(model: bundles.Bundle, path: Path) -> list[str]:
    """Return the best label of each patch of a file."""
    features = sound_features(Video(path), model)
    scores = sound_scores(sound_head(model), features.values)
    return [model.labels[i] for i in scores.argmax(axis=1)]


def agrees(model: bundles.Bundle, samples: np.ndarray, numbers: dict[str, Any]) -> None:
    ours = scored(model, samples)
    for label, score in numbers["exact"].items():
        assert ours[label] == pytest.approx(score, abs=1e-4)
    assert max(ours, key=ours.__getitem__) == next(iter(numbers["exact"]))


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", made_sounds())
@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_scores_are_those_of_the_package(
    name: str, engine: str, model: bundles.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmm_cli.features import sounds

    monkeypatch.setenv("VMM_ENGINE", engine)
    sounds._network.cache_clear()
    agrees(model, made_sounds()[name], NUMBERS[name])
    sounds._network.cache_clear()


@pytest.mark.parametrize("name", [name for name in NUMBERS if "/" in name])
def test_scores_of_real_clips_are_those_of_the_package(
    name: str, model: bundles.Bundle, vmm_data: Path
) -> None:
    blocks = [block.samples for block in iter_audio(vmm_data / name, RATE)]
    agrees(model, np.pad(np.concatenate(blocks), (0, PATCH)), NUMBERS[name])


def test_a_graph_gives_what_pytorch_gives(model: bundles.Bundle) -> None:
    from vmm_cli.features.sound_networks import in_torch
    from vmm_cli.features.sounds import PREFIX

    patches = np.stack([log_mel(samples[:PATCH]) for samples in made_sounds().values()])
    there = in_torch(bundles.load_tensors(model, PREFIX))(patches)
    np.testing.assert_allclose(load_network(model)(patches), there, atol=1e-4)


def test_classes_are_in_the_order_of_audiosets_list(model: bundles.Bundle) -> None:
    assert len(model.labels) == len(set(model.labels)) == 521
    places = {0: "Speech", 13: "Laughter", 69: "Dog", 132: "Music", 294: "Vehicle"}
    places |= {390: "Siren", 420: "Explosion", 494: "Silence", 520: "Field recording"}
    assert {i: model.labels[i] for i in places} == places


def test_what_a_bundle_says_is_how_it_is_done(model: bundles.Bundle) -> None:
    spec = encoder_spec(STREAM, NAME, Fraction(2))
    assert spec == model.encoders[STREAM] and spec.preprocess == SETTINGS
    tensors = bundles.load_tensors(model, f"encoders.{STREAM}.")
    assert spec.digest == sounds_digest(NAME, tensors)
    assert {one.dtype.name for name, one in tensors.items() if "weight" in name} == {"int8"}


def test_another_models_network_is_refused() -> None:
    with pytest.raises(ModelError, match="'imagenet' has no network for sounds"):
        load_network(bundles.load("imagenet"))


# --- the spectrogram -----------------------------------------------------------------------------


def test_the_bands_are_those_of_htk() -> None:
    filters = mel_filters()
    assert filters.shape == (64, 257)
    corners = 700 * np.expm1(
        np.linspace(1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700), 66) / 1127
    )
    for band in (0, 20, 63):
        heard = np.flatnonzero(filters[band]) * RATE / 512
        assert corners[band] < heard.min() and heard.max() < corners[band + 2]
        peak = np.argmax(filters[band]) * RATE / 512
        assert abs(peak - corners[band + 1]) <= RATE / 512
    assert not filters[:, 0].any()


def test_the_spectrogram_is_the_formula() -> None:
    samples = made_sounds()["chord"][: 400 + 160]
    windows = (
        np.stack([samples[:400], samples[160:560]]) * np.sin(np.pi * np.arange(400) / 400) ** 2
    )
    angles = 2 * np.pi * np.outer(np.arange(400), np.arange(257)) / 512
    magnitude = np.abs(windows @ np.exp(-1j * angles))
    expected = np.log(magnitude @ mel_filters().T + 0.001)
    np.testing.assert_allclose(log_mel(samples), expected, atol=1e-3)


# --- files ---------------------------------------------------------------------------------------


def test_silence_is_silence(model: bundles.Bundle, tmp_path: Path) -> None:
    path = sound_file(tmp_path / "a.wav", np.zeros(3 * RATE))
    assert set(best(model, path)) == {"Silence"}


def test_a_tenth_of_a_second_is_a_patch(model: bundles.Bundle, tmp_path: Path) -> None:
    path = sound_file(tmp_path / "a.wav", made_sounds()["noise"][: RATE // 10])
    features = sound_features(Video(path), model)
    assert features.times.tolist() == [0.05]
    steps = steps_of_sounds(Video(path), np.array([0.0, 0.1, 0.2]), 0.1)
    assert steps.times.tolist() == [0.0]
    np.testing.assert_allclose(steps.values, features.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rate", "layout"), [(8000, "mono"), (44100, "stereo"), (48000, "5.1")])
def test_other_rates_and_layouts(
    rate: int, layout: str, model: bundles.Bundle, tmp_path: Path
) -> None:
    at = np.arange(2 * rate) / rate
    path = sound_file(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * at), rate, layout)
    assert best(model, path)[1] in ("Telephone", "Dial tone")  # as of the tone at 16 kHz


def test_without_sound_there_is_nothing(model: bundles.Bundle, bikes: Path) -> None:
    features = sound_features(Video(bikes), model)
    assert features.values.shape == (0, 1024) and features.values.dtype == np.float32
    assert steps_of_sounds(Video(bikes), np.arange(4) / 2, 0.5).values.shape == (0, 1024)


def test_patches_cover_the_sound(tmp_path: Path) -> None:
    for seconds in (0.2, 0.975, 0.976, 1.455, 1.456, 4.0, 9.3):
        samples = made_sounds()["noise"]
        path = sound_file(tmp_path / f"{seconds}.wav", np.resize(samples, round(seconds * RATE)))
        parts = list(sound_patches(Video(path), 0, None))
        spans = np.concatenate([span for span, _ in parts])
        patches = np.concatenate([part for _, part in parts])
        wanted = max(1, -(-(round(seconds * RATE) - PATCH) // PATCH_HOP) + 1)
        assert patches.shape == (wanted, 96, 64) and len(spans) == wanted
        np.testing.assert_allclose(spans[:, 0], np.arange(wanted) * 0.48, atol=1e-9)
        assert spans[-1, 1] <= seconds + 1e-9 < spans[-1, 1] + 0.016
        whole = np.pad(np.resize(samples, round(seconds * RATE)), (0, PATCH))
        last = (wanted - 1) * PATCH_HOP
        np.testing.assert_allclose(patches[-1], log_mel(whole[last : last + PATCH]), atol=2e-2)


def test_a_part_of_a_file_has_the_values_of_the_whole(bunny: Path) -> None:
    times = np.arange(10) / 2
    whole = steps_of_sounds(Video(bunny), times, 0.5)
    part = steps_of_sounds(Video(bunny), times[2:9], 0.5, start_s=1.0, end_s=4.5)
    assert part.times.tolist() == times[2:9].tolist()
    np.testing.assert_allclose(part.values[2:-2], whole.values[4:7], rtol=1e-3, atol=2e-3)
    assert np.abs(part.values[0] - whole.values[2]).max() > 0.01  # nothing before it was heard


def test_a_steps_value_is_the_mean_of_its_patches(model: bundles.Bundle, tmp_path: Path) -> None:
    path = sound_file(tmp_path / "a.wav", made_sounds()["chord"])
    patches = sound_features(Video(path), model).values
    step = steps_of_sounds(Video(path), np.array([0.5, 1.0]), 0.48).values
    # 0.5 to 0.98 lies in the patches from 0.00 (until 0.96), from 0.48 and from 0.96 on.
    expected = (0.46 * patches[0] + 0.48 * patches[1] + 0.02 * patches[2]) / 0.96
    np.testing.assert_allclose(step[0], expected, rtol=1e-4, atol=1e-4)


def test_memory_does_not_grow_with_the_sound(tmp_path: Path) -> None:
    load_network(bundles.load(CARRIER))
    peaks = []
    for seconds in (10, 90):
        path = sound_file(tmp_path / f"{seconds}.wav", np.zeros(seconds * 8000), 8000)
        tracemalloc.start()
        for _ in sound_patches(Video(path), 0, None):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20


@pytest.mark.usefixtures("own_cache")
def test_windows_are_kept(bunny: Path) -> None:
    spec = encoder_spec(STREAM, NAME, Fraction(2))
    plan = StreamPlan({STREAM: spec}, Fraction(2), Fraction(2))
    windows = [Window(Fraction(0), Fraction(2))]
    (first,) = window_features(Video(bunny), windows, plan)
    assert first.values[STREAM].shape == (4, 1024) and first.masks[STREAM].all()
    (held,) = store.holds()
    assert (held.encoder, held.entries) == (NAME, 1)
    (again,) = window_features(Video(bunny), windows, plan)
    np.testing.assert_array_equal(again.values[STREAM], first.values[STREAM])
    assert ENCODERS[NAME].kept == "always"


def test_no_torch_is_loaded(bunny: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from vmm_cli.features.sounds import steps_of_sounds\n"
        "from vmm_cli.media.video import Video\n"
        f"found = steps_of_sounds(Video(Path({os.fspath(bunny)!r})), np.arange(4.0), 1.0)\n"
        "assert found.values.shape == (4, 1024) and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
