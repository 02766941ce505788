"""Decoding in workers and encoding in a process of its own, here on the CPU, as a GPU would be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.wanted import classify_request
from vmm_cli import bundles
from vmm_cli.batch.device import Stage
from vmm_cli.batch.execute import Listener, execute
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Records
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.work import Limits, Work
from vmm_cli.errors import DeviceError, UsageError
from vmm_cli.features import store
from vmm_cli.features.values import Features, join
from vmm_cli.inference import classify
from vmm_cli.inference.classify import ClassifyRequest, Part, PartResult
from vmm_cli.media import video
from vmm_cli.operations.classify import CLASSIFY

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

LOADS_WITHOUT_TORCH = """
import sys
from pathlib import Path
from vmm_cli import bundles
from vmm_cli.inference import classify
from vmm_cli.media import video
from vmm_cli.batch.inputs import Input
request = classify.classify_request(bundles.load("imagenet"))
video = Input(Path(sys.argv[1]), "a", "a")
area = memoryview(bytearray(classify.area_bytes(request)))
(part,) = classify.plan_loads(request, video, 1)
assert len(classify.load(request, video, part, area).about.times) == 10
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def imagenet() -> bundles.Bundle:
    return bundles.load("imagenet")


def an_input(path: Path) -> Input:
    return Input(path, path.name, path.name)


def records(request: ClassifyRequest, paths: list[Path], *, staged: bool) -> dict[str, Any]:
    stage = Stage(
        plan=classify.plan_loads,
        load=classify.load,
        open=classify.open_device,
        compute=classify.compute,
        area_bytes=classify.area_bytes(request),
    )
    found: dict[str, Any] = {}
    work = Work(request, classify.run, classify.finish, stage=stage if staged else None)
    execute(
        work,
        [an_input(path) for path in paths],
        [],
        records=Records(CLASSIFY.schema, ("mark",)),
        limits=Limits(request.max_pixels),
        start=partial(LocalExecutor, 2),
        listener=Listener(lambda record: found.update({record["input"]: record})),
    )
    return found


def stored(request: ClassifyRequest, path: Path) -> Features:
    result = classify.run(request, an_input(path), None)
    assert result.stored
    return result.features


@pytest.mark.slow
def test_features_and_records_are_those_of_one_step(
    imagenet: bundles.Bundle,
    bikes: Path,
    bunny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = classify_request(imagenet, device="cpu", every_s=1)
    (tmp_path / "text.mp4").write_text("no video")
    paths = [bikes, bunny, tmp_path / "text.mp4"]
    two_steps = records(request, paths, staged=True)
    features = [stored(request, path) for path in (bikes, bunny)]
    assert records(request, paths, staged=True) == two_steps  # from the store

    monkeypatch.setenv("VMM_CACHE_DIR", os.fspath(tmp_path / "other"))
    one_step = records(request, paths, staged=False)
    for path, found in zip((bikes, bunny), features, strict=True):
        expected = stored(request, path)
        assert np.array_equal(found.times, expected.times)
        assert np.abs(found.values - expected.values).max() < 1e-5
        for theirs, ours in zip(
            one_step[path.name]["labels"], two_steps[path.name]["labels"], strict=True
        ):
            assert ours == theirs | {"score": pytest.approx(theirs["score"], abs=1e-4)}
    assert two_steps["text.mp4"] == one_step["text.mp4"]
    assert one_step["text.mp4"]["status"] == "failed"


def in_two_steps(
    request: ClassifyRequest, path: Path, parts: list[Part], pictures: int
) -> list[PartResult]:
    """Do an input's parts and what is left of them with areas for so many pictures."""
    results = []
    while parts:
        area = memoryview(bytearray(pictures * 224 * 224 * 3 + 5))
        loaded = classify.load(request, an_input(path), parts.pop(0), area)
        results += classify.compute(request, [(loaded.about, area)])
        parts += [loaded.rest] if loaded.rest else []
    return results


@pytest.mark.parametrize("sampling", [{"every_s": 0.2}, {"frames": 22}])
def test_parts_and_what_does_not_fit_make_the_whole(
    imagenet: bundles.Bundle,
    render_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    sampling: dict[str, Any],
) -> None:
    clip = render_clip(frames=24, rate=4)  # 6 s; some pictures answer two wanted times
    request = classify_request(imagenet, device="cpu", **sampling)
    whole = classify.run(replace(request, use_store=False), an_input(clip), None).features
    monkeypatch.setattr(classify, "FRAMES_PER_LOAD", 7)
    parts = classify.plan_loads(request, an_input(clip), 1)
    assert len(parts) >= 4
    results = in_two_steps(request, clip, list(parts), 4)
    assert len(results) > len(parts)
    features = join([part.features for part in results])
    assert np.array_equal(features.times, whole.times)
    assert np.abs(features.values - whole.values).max() < 1e-5
    classify.finish(request, an_input(clip), results)
    assert store.info().entries == 1
    assert classify.plan_loads(request, an_input(clip), 1) == []


def test_a_file_that_is_longer_than_it_declares_is_read_to_its_end(
    imagenet: bundles.Bundle, render_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = render_clip(frames=24, rate=4)
    request = classify_request(imagenet, device="cpu", every_s=0.25, use_store=False)
    monkeypatch.setattr(video, "video_end_s", lambda path, max_pixels: Fraction(1))
    parts = classify.plan_loads(request, an_input(clip), 1)
    assert parts == [Part(request.sampling)]
    results = in_two_steps(request, clip, parts, 5)
    features = join([part.features for part in results])
    assert np.allclose(features.times, np.arange(24) / 4)
    assert max(part.end_s for part in results) == 6


def test_a_single_input_is_loaded_by_all_workers(imagenet: bundles.Bundle, bikes: Path) -> None:
    request = classify_request(imagenet, every_s=0.25)
    assert len(classify.plan_loads(request, an_input(bikes), 4)) == 4
    assert len(classify.plan_loads(request, an_input(bikes), 1)) == 1
    late = classify_request(imagenet, start=100)
    assert classify.plan_loads(late, an_input(bikes), 4) == [Part(late.sampling)]


def test_a_worker_that_loads_needs_no_torch(bikes: Path) -> None:
    subprocess.run([sys.executable, "-c", LOADS_WITHOUT_TORCH, bikes], check=True)


def test_a_device_that_is_not_there_is_told_at_its_opening(imagenet: bundles.Bundle) -> None:
    classify.open_device(classify_request(imagenet, device="cpu"))
    with pytest.raises((UsageError, DeviceError), match="device cuda:99"):
        classify.open_device(classify_request(imagenet, device="cuda:99"))
