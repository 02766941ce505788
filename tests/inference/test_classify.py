from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wanted import classify_request
from vmm_cli import bundles
from vmm_cli.analysis import labels
from vmm_cli.batch.inputs import Input
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.features import store
from vmm_cli.features.values import Features
from vmm_cli.inference import classify
from vmm_cli.inference.classify_request import ClassifyRequest
from vmm_cli.media.sampling import wanted_times

PROGRAM = """
import json, sys
from pathlib import Path
from vmm_cli import bundles
from vmm_cli.inference import classify
from vmm_cli.inference.classify_request import classify_request
from vmm_cli.batch.inputs import Input
request = classify_request(bundles.load("imagenet"))
video = Input(Path(sys.argv[1]), "a", "a")
parts = classify.plan(request, video, 2)
results = [classify.run(request, video, part) for part in parts]
shown = classify.finish(request, video, results).to_record()
print(json.dumps([shown, "torch" in sys.modules]))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path / "cache"))


@pytest.fixture(scope="module")
def imagenet() -> bundles.Bundle:
    return bundles.load("imagenet")


def an_input(path: Path) -> Input:
    return Input(path, "folder/video", "video")


def record(request: ClassifyRequest, path: Path) -> dict[str, Any]:
    video = an_input(path)
    return classify.finish(request, video, [classify.run(request, video, None)]).to_record()


# --- the request


def test_the_model_s_own_step_is_the_default(imagenet: bundles.Bundle) -> None:
    request = classify_request(imagenet)
    assert (request.sampling.kind, request.sampling.step_s) == ("every", 1)
    assert classify_request(imagenet, every_s=0.1).sampling.step_s == Fraction(1, 10)
    assert classify_request(imagenet, frames=3).sampling.n == 3
    assert classify_request(imagenet, windows_s=0.25).sampling.step_s == Fraction(1, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"every_s": 1, "frames": 2},
        {"every_s": 0},
        {"every_s": -1},
        {"frames": 0},
        {"start": 5, "end": 5},
        {"start": -1},
        {"top_k": 0},
        {"windows_s": 0},
        {"every_s": 2, "windows_s": 1},
        {"device": "tpu"},
    ],
)
def test_contradictions_are_refused(imagenet: bundles.Bundle, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        classify_request(imagenet, **options)


def test_a_trained_sampling_is_not_changed(imagenet: bundles.Bundle) -> None:
    trained = replace(imagenet, sampling=bundles.SamplingSpec(0.5, free=False))
    assert classify_request(trained).sampling.step_s == Fraction(1, 2)
    for options in ({"every_s": 0.5}, {"frames": 4}, {"windows_s": 0.2}):
        with pytest.raises(UsageError):
            classify_request(trained, **options)


def test_a_model_for_something_else_is_refused(imagenet: bundles.Bundle) -> None:
    with pytest.raises(ModelError, match="for segments, not for classes"):
        classify_request(replace(imagenet, task="segments"))
    with pytest.raises(ModelError, match="cannot run"):
        classify_request(replace(imagenet, network={"temporal": "gru"}))


# --- real videos


def test_a_real_clip_gets_labels(imagenet: bundles.Bundle, bunny: Path) -> None:
    fields = record(classify_request(imagenet, top_k=3), bunny)
    assert list(fields) == ["duration_s", "model", "frames", "labels"]
    assert fields["model"] == {"name": "imagenet", "version": 1}
    assert fields["duration_s"] == pytest.approx(5.28, abs=0.1)
    assert fields["frames"] == 6
    scores = [label["score"] for label in fields["labels"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    for label in fields["labels"]:
        assert 0 < label["score"] <= 1
        assert 1 <= len(label["times"]) <= 3
        assert label["times"] == sorted(label["times"])
        assert all(0 <= t < 5.3 for t in label["times"])
    json.dumps(fields, allow_nan=False)


def test_a_timeline_covers_the_video(imagenet: bundles.Bundle, bikes: Path) -> None:
    request = classify_request(imagenet, windows_s=4, start=1)
    windows = record(request, bikes)["windows"]
    assert [(w["start_s"], w["end_s"]) for w in windows] == [(1, 5), (5, 9), (9, 10)]
    for window in windows:
        assert len(window["labels"]) == 5
        for label in window["labels"]:
            assert all(window["start_s"] <= t < window["end_s"] for t in label["times"])


def test_a_part_of_the_video(imagenet: bundles.Bundle, bikes: Path) -> None:
    fields = record(classify_request(imagenet, start=2, end=4.5), bikes)
    assert fields["frames"] == 3
    assert fields["duration_s"] == pytest.approx(10, abs=0.05)


def test_times_past_the_end_fail(imagenet: bundles.Bundle, bikes: Path) -> None:
    with pytest.raises(InputError, match="ends at 10") as caught:
        record(classify_request(imagenet, start=60), bikes)
    assert caught.value.code == "past_end"


def test_what_is_no_video_fails(imagenet: bundles.Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for name, code in (("text.mp4", "unreadable"), ("none.mp4", "missing")):
        for step in (lambda r, v: classify.plan(r, v, 2), lambda r, v: classify.run(r, v, None)):
            with pytest.raises(InputError) as caught:
                step(classify_request(imagenet), an_input(tmp_path / name))
            assert caught.value.code in (code, "refused")


def test_no_run_needs_torch_and_the_second_one_says_the_same(bikes: Path) -> None:
    def run() -> list[Any]:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, bikes], check=True, capture_output=True, text=True
        )
        answer: list[Any] = json.loads(result.stdout)
        return answer

    cold, warm = run(), run()
    assert not cold[1] and not warm[1]
    assert cold[0] == warm[0]


def test_without_the_store_nothing_is_kept(imagenet: bundles.Bundle, bunny: Path) -> None:
    record(classify_request(imagenet, use_store=False, frames=1), bunny)
    assert store.info().entries == 0


def test_a_changed_file_is_read_again(
    imagenet: bundles.Bundle, bikes: Path, bunny: Path, tmp_path: Path
) -> None:
    request = classify_request(imagenet, frames=1)
    copy = tmp_path / "copy.mp4"
    shutil.copy2(bikes, copy)
    first = record(request, copy)
    moved = copy.rename(tmp_path / "moved.mp4")
    assert classify.run(request, an_input(moved), None).stored
    shutil.copy2(bunny, moved)
    assert not classify.run(request, an_input(moved), None).stored
    assert record(request, moved) != first


def test_a_model_exchanged_in_use_is_refused(imagenet: bundles.Bundle, bikes: Path) -> None:
    request = replace(classify_request(imagenet), bundle_digest="0" * 64)
    with pytest.raises(ModelError, match="changed while it was in use"):
        record(request, bikes)


# --- splitting


@pytest.mark.parametrize("options", [{"every_s": 0.0625}, {"frames": 150}])
def test_parts_want_together_what_the_whole_wants(
    imagenet: bundles.Bundle, bikes: Path, options: dict[str, Any]
) -> None:
    request = classify_request(imagenet, start=0.5, **options)
    parts = classify.plan(request, an_input(bikes), 2)
    assert len(parts) == 2
    together = [t for part in parts if part for t in wanted_times(part.sampling, Fraction(10))]
    assert together == list(wanted_times(request.sampling, Fraction(10)))
    assert classify.plan(request, an_input(bikes), 1) == [None]
    few = replace(request, sampling=classify_request(imagenet, frames=9).sampling)
    assert classify.plan(few, an_input(bikes), 2) == [None]


def test_split_and_whole_agree_and_the_whole_is_stored(
    imagenet: bundles.Bundle, render_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = render_clip(frames=12, rate=4)  # 3 s; the border's picture answers both parts
    monkeypatch.setattr(classify, "MIN_FRAMES_PER_PART", 4)
    request = classify_request(imagenet, every_s=0.2)
    video = an_input(clip)
    parts = classify.plan(request, video, 3)
    assert len(parts) == 3
    results = [classify.run(request, video, part) for part in parts]
    assert store.info().entries == 0
    split = classify.finish(request, video, results).to_record()
    assert store.info().entries == 1
    assert classify.plan(request, video, 3) == [None]
    whole = record(replace(request, use_store=False), clip)
    assert split["frames"] == whole["frames"] == 12
    for one, other in zip(split["labels"], whole["labels"], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


# --- scores


def flat(imagenet: bundles.Bundle, rows: np.ndarray) -> Features:
    return Features(np.arange(len(rows), dtype=np.float64), rows.astype(np.float32))


def test_scores_are_mean_probabilities_however_long_the_video(
    imagenet: bundles.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.abs(np.random.default_rng(1).normal(size=(1030, 1280)))
    features = flat(imagenet, rows)
    request = classify_request(imagenet, top_k=1000, windows_s=500)
    kept = classify.classification(request, features, 1030.0)
    monkeypatch.setattr(labels, "KEPT_PROBABILITIES", 10)
    again = classify.classification(request, features, 1030.0)
    assert sum(label.score for label in kept.labels) == pytest.approx(1, abs=1e-4)
    assert kept.windows is not None and again.windows is not None
    assert len(kept.windows) == 3
    for one, other in zip(kept.labels[:20], again.labels[:20], strict=True):
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, rel=1e-5)
        assert one.times == other.times


def test_a_window_without_pictures_has_no_labels(imagenet: bundles.Bundle) -> None:
    features = flat(imagenet, np.ones((2, 1280)))  # at 0 and 1 s
    request = classify_request(imagenet, frames=2, windows_s=1)
    result = classify.classification(request, features, 2.5)
    assert result.windows is not None
    assert [len(w.labels) for w in result.windows] == [5, 5, 0]
    assert result.windows[-1].end_s == 2.5


def test_windows_hold_what_is_shown_in_them(imagenet: bundles.Bundle) -> None:
    """At 29.97 pictures a second the one for 1 s appeared before; a still one lasts for seconds."""
    times = np.array([0.0, 0.9676, 1.9686, 5.9726])
    features = Features(times, np.ones((4, 1280), np.float32))
    result = classify.classification(classify_request(imagenet, windows_s=1), features, 7.0)
    assert result.windows is not None
    seen = [w.labels[0].times for w in result.windows]
    still = (1.9686,)
    assert seen == [(0.0,), (0.9676,), still, still, still, still, (5.9726,)]
