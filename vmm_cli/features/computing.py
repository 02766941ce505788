"""Have a frozen network compute where networks do: in this process, or where a device is."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vmm_cli.batch.device_client import LostError, RemoteNetwork, There, remote_network, where
from vmm_cli.features.encoder import Compute, Job, OfFrames
from vmm_cli.features.values import Features


def computing(load: Callable[..., Compute], *args: Any) -> Compute:
    """Return what load(*args, device) gives, loaded where networks compute.

    `load` is at module level, and keeps what it has loaded; args are picklable.
    """
    place = where()
    if not isinstance(place, There):
        return load(*args, place.device)
    try:
        remote = remote_network(place.address, pickle.dumps((load, args)))
    except LostError:
        return load(*args, "cpu")
    return Compute(partial(_run, remote, load, args), remote.width, remote.batch)


def computing_for(job: Job) -> Compute | None:
    """Return what computes for a job of an encoder of pictures; None: its loader does it all."""
    runs = job.row.runs
    assert isinstance(runs, OfFrames)
    if runs.compute is None:
        return None
    if not runs.takes_device:
        return runs.compute(job)
    # The network is the same for all windows.
    return computing(_load, replace(job, windows=(), watched=None))


def _load(job: Job, device: str) -> Compute:
    runs = job.row.runs
    assert isinstance(runs, OfFrames) and runs.compute is not None
    return runs.compute(replace(job, device=device))


def _run(
    remote: RemoteNetwork, load: Callable[..., Compute], args: tuple[Any, ...], rows: np.ndarray
) -> np.ndarray:
    """Compute there, or here once there is no device any more."""
    try:
        return remote.run(rows)
    except LostError:
        return load(*args, "cpu").run(rows)


def features_of(compute: Compute, prepared: Iterable[tuple[float, np.ndarray]]) -> Features:
    """Return the features of a stream of prepared pictures or clips, holding one batch at a time.

    `prepared`: time in seconds, ascending, and uint8, all of one shape.
    """
    waiting: list[np.ndarray] = []
    times: list[float] = []
    values = [np.empty((0, compute.width), np.float32)]
    for time_s, images in prepared:
        waiting.append(images)
        times.append(time_s)
        if len(waiting) == compute.batch:
            values.append(compute.run(np.stack(waiting)))
            waiting.clear()
    if waiting:
        values.append(compute.run(np.stack(waiting)))
    return Features(np.array(times, np.float64), np.concatenate(values))
