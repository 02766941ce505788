"""Networks in a process of their own, here on the CPU, as on a GPU: the same records come of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmm_cli import bundles
from vmm_cli.batch.execute import Listener, execute
from vmm_cli.batch.executor import Device
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.ledger import Records
from vmm_cli.batch.local import LocalExecutor
from vmm_cli.batch.work import Limits
from vmm_cli.errors import DeviceError, VmmError
from vmm_cli.features.plan import plan_of
from vmm_cli.operations.classify import CLASSIFY, ClassifyOptions
from vmm_cli.operations.detect_actions import DETECT_ACTIONS, DetectOptions
from vmm_cli.operations.device import open_device
from vmm_cli.operations.operation import Operation
from vmm_cli.training.data.samples import Sample
from vmm_cli.training.encoding import Means, encode_samples

pytestmark = pytest.mark.usefixtures("own_cache", "forked_with_torch")

APART = Device("cpu", open_device)


def records(
    operation: Operation[Any, Any, Any, Any], options: Any, paths: Sequence[Path], **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    prepared = operation.prepare(options)
    execute(
        replace(prepared.work, **more),
        [Input(path, path.name, path.name) for path in paths],
        [],
        records=Records(operation.schema, ("mark",)),
        limits=Limits(options.max_pixels),
        start=partial(LocalExecutor, 2),
        listener=Listener(lambda record: found.update({record["input"]: record})),
    )
    return found


def nearly(value: Any) -> Any:
    """Return a record's values, numbers give or take what batches of another size round to."""
    if isinstance(value, dict):
        return {key: nearly(one) for key, one in value.items()}
    if isinstance(value, list):
        return [nearly(one) for one in value]
    return pytest.approx(value, abs=2e-4) if isinstance(value, float) else value


@pytest.mark.parametrize(
    ("operation", "options"),
    [
        (CLASSIFY, ClassifyOptions(every=Fraction(1), no_store=True)),
        (CLASSIFY, ClassifyOptions(model="fights", no_store=True, end=Fraction(4))),
        (DETECT_ACTIONS, DetectOptions(model="falls", no_store=True, min_score=0.02)),
    ],
    ids=["pictures", "windows", "steps"],
)
def test_a_device_gives_what_workers_give(
    operation: Operation[Any, Any, Any, Any],
    options: Any,
    bikes: Path,
    bunny: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    paths = [bikes, bunny, tmp_path / "text.mp4"]
    here = records(operation, options, paths)
    there = records(operation, options, paths, device=APART)
    assert here["bikes.mp4"]["status"] == "ok"
    assert here["text.mp4"]["status"] == "failed"
    assert there == nearly(here)


def test_training_reads_on_a_device_what_it_reads_in_workers(bikes: Path, bunny: Path) -> None:
    plan = plan_of(bundles.load("fights"))
    samples = [
        Sample(path, path.name, ("a",), None, None, None, end_s=3.0) for path in (bikes, bunny)
    ]
    encode = partial(encode_samples, samples, plan, with_text=False)
    here = encode(Means(jobs=2, use_store=False))
    there = encode(Means(jobs=2, use_store=False, device=APART))
    for one, other in zip(here, there, strict=True):
        assert not isinstance(one, VmmError) and not isinstance(other, VmmError)
        for window, again in zip(one.windows, other.windows, strict=True):
            for stream, values in window.values.items():
                assert np.abs(values - again.values[stream]).max() < 1e-4


def test_a_device_that_is_not_there_ends_the_run(bikes: Path) -> None:
    options = ClassifyOptions(count=1, no_store=True)
    with pytest.raises(DeviceError, match="device cuda:99"):
        records(CLASSIFY, options, [bikes], device=Device("cuda:99", open_device))


def test_one_that_is_optional_is_done_without(
    bikes: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vmm_cli"), "propagate", True)
    options = ClassifyOptions(count=1, no_store=True)
    gone = Device("cuda:99", open_device, optional=True)
    assert records(CLASSIFY, options, [bikes], device=gone) == records(CLASSIFY, options, [bikes])
    assert "going on without it" in caplog.text
