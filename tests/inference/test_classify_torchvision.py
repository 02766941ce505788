"""Whole classifiers of torchvision with random weights, from the video to the record.

Compared with torchvision's own transforms and network on what is shown at the same times.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.random_weights import random_network, random_weights
from tests.wanted import classify_request
from vmm_cli import bundles
from vmm_cli.batch.inputs import Input
from vmm_cli.bundles.published import TORCHVISION
from vmm_cli.compat import ensure_torchvision
from vmm_cli.features import store
from vmm_cli.features.values import join
from vmm_cli.fetching import fetch
from vmm_cli.inference import classify
from vmm_cli.inference.classify_request import ClassifyRequest
from vmm_cli.media.frames import FrameRequest, iter_frames
from vmm_cli.media.sampling import at

ensure_torchvision()
from torchvision.models import get_weight  # noqa: E402  the cure comes first

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

PICTURES, CLIPS = "torchvision/resnet18", "torchvision/mc3_18"
SLOW = [name for name in TORCHVISION if name != PICTURES]
NAMES = [PICTURES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], bundles.Bundle]]:
    """Fetch a model with random weights; each is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", os.fspath(tmp_path_factory.mktemp("share")))

        def fetched(name: str) -> bundles.Bundle:
            if not (bundles.user_models() / name).exists():
                file = random_weights(name, tmp_path_factory.mktemp("weights"))
                fetch.fetch(name, os.fspath(file), on_progress=lambda *at: None)
                file.unlink()
            return bundles.load(name)

        yield fetched


def an_input(path: Path) -> Input:
    return Input(path, path.name, path.name)


def record(request: ClassifyRequest, path: Path) -> dict[str, Any]:
    part = classify.run(request, an_input(path), None)
    return classify.finish(request, an_input(path), [part]).to_record()


def torchvision_s_own(name: str, video: Path, times: Sequence[Fraction]) -> np.ndarray:
    """Softmax probabilities [L] of a picture, or of a clip of pictures, at display size."""
    frames = list(iter_frames(video, [FrameRequest("x", at(times))]))
    shown = [
        max(i for i, f in enumerate(frames) if f.time_s <= t + 1e-6) for t in map(float, times)
    ]
    images = torch.from_numpy(np.stack([frames[i].image for i in shown])).permute(0, 3, 1, 2)
    x = get_weight(TORCHVISION[name].weights).transforms()(images)
    x = x[None] if TORCHVISION[name].kind == "clip" else x
    with torch.inference_mode():
        return random_network(name)(x).softmax(dim=1).mean(dim=0).numpy()


def clip_times(name: str, begin: Fraction, end: Fraction) -> list[Fraction]:
    numbers = TORCHVISION[name].preprocess
    if "frames" not in numbers:
        return [begin]
    steps = [begin + k / Fraction(numbers["rate_hz"]) for k in range(int(numbers["frames"]))]
    inside = [t for t in steps if t < end]
    return inside + inside[-1:] * (len(steps) - len(inside))


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_torchvision_s(
    models: Callable[[str], bundles.Bundle], bikes: Path, name: str
) -> None:
    """One look in the middle, and one whose clip is cut by the end of the video."""
    begins = [Fraction(3), Fraction(19, 2)]
    model = models(name)
    request = classify_request(model, every_s=6.5, start=3, top_k=len(model.labels))
    fields = record(request, bikes)
    assert fields["frames"] == 2 * TORCHVISION[name].preprocess.get("frames", 1)
    expected = np.mean(
        [torchvision_s_own(name, bikes, clip_times(name, b, Fraction(10))) for b in begins], axis=0
    )
    scores = {label["label"]: label["score"] for label in fields["labels"]}
    ours = np.array([scores[label] for label in model.labels])
    assert np.abs(ours - expected).max() < 2e-5
    assert fields["labels"][0]["label"] == model.labels[int(expected.argmax())]
    # A clip stands at its begin, a picture where it appeared.
    last = 9.5 if TORCHVISION[name].kind == "clip" else 9.48
    assert fields["labels"][0]["times"] == [3.0, last]


def test_a_timeline_of_clips(models: Callable[[str], bundles.Bundle], bikes: Path) -> None:
    request = classify_request(models(CLIPS), windows_s=2, end=3)
    fields = record(request, bikes)
    assert request.sampling.step_s == 1
    assert fields["frames"] == 3 * 16
    spans = [(w["start_s"], w["end_s"]) for w in fields["windows"]]
    assert spans == [(0, 2), (2, 3)]
    for window in fields["windows"]:
        for label in window["labels"]:
            assert all(window["start_s"] <= t < window["end_s"] for t in label["times"])


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [{"every_s": 0.75}, {"frames": 2}])
def test_parts_make_the_whole(
    models: Callable[[str], bundles.Bundle],
    render_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    sampling: dict[str, Any],
) -> None:
    video = render_clip(frames=36)  # 1.44 s
    request = classify_request(models(CLIPS), **sampling)
    whole = classify.run(replace(request, use_store=False), an_input(video), None).features
    assert len(whole) == 2
    assert classify.plan(request, an_input(video), 2) == [None]
    monkeypatch.setattr(classify, "MIN_CLIPS_PER_PART", 1)
    parts = classify.plan(request, an_input(video), 2)
    assert len(parts) == 2
    results = [classify.run(request, an_input(video), part) for part in parts]
    features = join([part.features for part in results])
    assert np.array_equal(features.times, whole.times)
    assert np.abs(features.values - whole.values).max() < 1e-5
    assert store.info().entries == 0
    classify.finish(request, an_input(video), results)
    assert store.info().entries == 1
    assert classify.plan(request, an_input(video), 2) == [None]


def test_a_video_shorter_than_a_clip(
    models: Callable[[str], bundles.Bundle], render_clip: Callable[..., Path]
) -> None:
    fields = record(classify_request(models(CLIPS)), render_clip(frames=3))
    assert fields["frames"] == 16
    assert fields["labels"][0]["times"] == [0.0]
