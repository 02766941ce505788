"""What a trained model says of videos over time: windows, stretches, parts without anything."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.squares import squares_clip
from tests.wanted import detect_job
from vmm_cli import bundles
from vmm_cli.bundles import Bundle
from vmm_cli.errors import DeviceError, InputError, ModelError
from vmm_cli.inference import windows as inference_windows
from vmm_cli.inference.classify_request import classify_request
from vmm_cli.inference.valence import check_valence_model, rate_windows
from vmm_cli.media.video import Video
from vmm_cli.operations.sentiment import SENTIMENT, SentimentOptions
from vmm_cli.training.data.inspection import inspect
from vmm_cli.training.data.read_valence import read_valence
from vmm_cli.training.encoding import Means
from vmm_cli.training.evaluation import evaluate
from vmm_cli.training.read_recipe import load_recipe
from vmm_cli.training.request import Listener, TrainRequest
from vmm_cli.training.run import train

RATE = 16000
LOW, HIGH = 440, 2000  # Hz: pleasant, and not
pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model of sound in windows of two seconds."""
    folder = tmp_path_factory.mktemp("rated")
    rows = ["path,valence,emotion"]
    for i in range(12):
        tones(folder / f"{i}.m4a", (HIGH if i % 2 else LOW, 2 + i % 3))
        rows.append(f"{i}.m4a,{'-0.5,anger' if i % 2 else '0.5,happiness'}")
    (folder / "rated.csv").write_text("\n".join(rows) + "\n")
    recipe = load_recipe(
        "sentiment",
        [
            *("streams=[audio]", "window_s=2", "width=8", "dropout=0.1"),
            *("optimisation.epochs=40", "optimisation.learning_rate=0.02"),
        ],
    )
    looked_at = inspect(read_valence(folder / "rated.csv"), jobs=1, max_pixels=10**7)
    run = folder / "run"
    metrics = train(looked_at, TrainRequest(run, "tones", recipe, use_store=False), Listener())
    assert metrics["validation"]["emotions"]["uar"] == 1
    return bundles.load(str(run))


def tones(path: Path, *parts: tuple[float, int]) -> Path:
    """Write parts of so many Hz and seconds, coded as what the model learnt from."""
    sound = [
        0.3 * np.sin(2 * np.pi * hertz * np.arange(seconds * RATE) / RATE)
        for hertz, seconds in parts
    ]
    samples = np.concatenate(sound)[None].astype(np.float32)
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for first in range(0, samples.shape[1] - 1023, 1024):
            block = np.ascontiguousarray(samples[:, first : first + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_what_is_said_follows_the_video(model: Bundle, tmp_path: Path) -> None:
    path = tones(tmp_path / "a.m4a", (LOW, 6), (HIGH, 6))
    rated = rate_windows(model, Video(path))
    assert rated.emotions == ("anger", "happiness")
    assert rated.times.tolist() == pytest.approx([float(k) for k in range(1, 12)], abs=0.05)
    np.testing.assert_allclose(rated.end_s - rated.start_s, 2, atol=0.1)
    assert rated.video_end_s == pytest.approx(12, abs=0.1)
    assert rated.present.all() and rated.streams.keys() == {"audio"}
    assert (rated.valence[:5] > 0.2).all() and (rated.valence[-5:] < -0.2).all()
    assert (rated.probabilities.argmax(axis=1)[:5] == 1).all()
    assert (rated.probabilities.argmax(axis=1)[-5:] == 0).all()
    np.testing.assert_allclose(rated.probabilities.sum(axis=1), 1, atol=1e-6)


def test_stretches_change_nothing(
    model: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tones(tmp_path / "a.m4a", (LOW, 4), (HIGH, 5))
    whole = rate_windows(model, Video(path), use_store=False)
    for steps in (1, 8):
        monkeypatch.setattr(inference_windows, "CHUNK_STEPS", steps)
        parts = rate_windows(model, Video(path), use_store=False)
        np.testing.assert_allclose(parts.valence, whole.valence, atol=1e-4)
        np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-4)
        np.testing.assert_array_equal(parts.times, whole.times)


def test_a_part_of_a_video(model: Bundle, tmp_path: Path) -> None:
    path = tones(tmp_path / "a.m4a", (LOW, 6), (HIGH, 6))
    part = rate_windows(model, Video(path, start=Fraction(7), end=Fraction(11)))
    assert part.times.tolist() == [8, 9, 10] and (part.valence < -0.2).all()
    with pytest.raises(InputError, match=r"ends at 1[12]"):
        rate_windows(model, Video(path, start=Fraction(20)))


def test_windows_without_anything_are_told_and_do_not_count(model: Bundle, tmp_path: Path) -> None:
    """The sound ends after three seconds, the pictures after eight."""
    both = squares_clip(tmp_path / "both.mp4", "moving", seconds=8, sound=True, sound_seconds=3)
    rated = rate_windows(model, Video(both))
    assert rated.present.tolist() == [True, True, True, *[False] * (len(rated.times) - 3)]
    assert rated.mean[0] == pytest.approx(rated.valence[:3].mean(), abs=1e-6)
    nothing = rate_windows(model, Video(squares_clip(tmp_path / "seen.mp4", "moving")))
    assert not nothing.present.any() and np.isnan(nothing.mean).all()


def test_a_clip_is_rated_as_a_whole_by_what_is_there(model: Bundle, tmp_path: Path) -> None:
    path = tones(tmp_path / "a.m4a", (LOW, 5))
    squares_clip(tmp_path / "silent.mp4", seconds=0.5)
    source = tmp_path / "rated.csv"
    source.write_text("path,valence\na.m4a,0.5\nsilent.mp4,0.5\n")
    found = evaluate(model, read_valence(source), Means(jobs=1))
    assert found.predictions.values[0] == pytest.approx(rate_windows(model, Video(path)).mean)
    assert list(found.failed) == ["silent.mp4"] and "no_stream" in found.failed["silent.mp4"]
    assert found.document["metrics"]["emotions"] is None, "no row has one"


def test_its_encoders_run_on_the_device_that_is_asked_for(model: Bundle) -> None:
    options = SentimentOptions(model=str(model.folder), device="cuda:99")
    try:
        device = SENTIMENT.prepare(options).work.device
    except DeviceError:  # it was looked for, and this machine has none
        return
    assert device is not None and device.name == "cuda:99"


def test_what_a_model_is_not_for_is_refused(model: Bundle) -> None:
    for refuse in (classify_request, detect_job):
        with pytest.raises(ModelError, match="vmm sentiment --model"):
            refuse(model)
    expert = replace(model, network={"kind": "speech"})
    with pytest.raises(ModelError, match="was not made by `vmm train --task valence`"):
        check_valence_model(expert)
    other = replace(model, network={**model.network, "valence_from": "nothing"})
    check_valence_model(other)
    with pytest.raises(ModelError, match="train it on rows with a valence"):
        check_valence_model(other, needs_valence=True)
