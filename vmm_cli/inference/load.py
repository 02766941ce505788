"""A trained network of several streams, read from its bundle and ready to be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle, Weights
from vmm_cli.errors import ModelError
from vmm_cli.features.plan import StreamPlan, plan_of
from vmm_cli.inference import in_graph
from vmm_cli.inference.examples import tokens_from
from vmm_cli.inference.network import DEFAULT_HEAD, OF_STEPS, StepNetwork, WindowNetwork

PREFIX = "network."  # of the names of its tensors in a bundle's weights
# More would be no network that a recipe can ask for.
MAX_LAYERS = 16
MAX_LEVELS = 12
MAX_STREAMS = 16
LONGEST_REASON = 300  # characters, of what torch says of a network that it cannot make


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A trained model, ready to judge.

    Attributes:
        plan: what it wants of a video.
        windows: the network, where its head says something of a window as a whole.
        steps: the network, where its head says something of each step.
        temperature: by which logits of windows are divided.
        tokens: makes int64 [L] of a text, for a network with a vocabulary.
    """

    bundle: Bundle
    plan: StreamPlan
    windows: WindowNetwork | None
    steps: StepNetwork | None
    tokens: Callable[[str], np.ndarray] | None
    multi_label: bool
    temperature: float = 1.0


@lru_cache(maxsize=2)
@progress.loading()
def load_trained(folder: Path, digest: str) -> Trained:
    """Return the model of a bundle whose `Bundle.digest` is known; a worker keeps it.

    Its network runs as a graph where the bundle has one, which needs no PyTorch.

    Raises:
        ModelError: it is damaged, was exchanged meanwhile, or its parts do not fit each other.
    """
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    about = bundle.network
    plan = plan_of(bundle)
    check(bundle)
    weights = bundles.load_weights(bundle)
    windows = steps = None
    try:
        if about.get("head", DEFAULT_HEAD) in OF_STEPS:
            steps = in_graph.step_network(bundle, weights) or _steps_in_torch(about, weights)
        else:
            windows = in_graph.window_network(bundle, weights) or _windows_in_torch(about, weights)
        tokens = tokens_from(about)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RuntimeError) as error:
        raise _cannot_run(bundle, error) from None
    several, temperature = bool(about.get("multi_label")), temperature_of(bundle)
    return Trained(bundle, plan, windows, steps, tokens, several, temperature)


def temperature_of(bundle: Bundle) -> float:
    """Return by what the logits of a model of windows are divided."""
    return bundle.thresholds.get("temperature", 1.0)


def _windows_in_torch(about: Mapping[str, Any], weights: Weights) -> WindowNetwork:
    from vmm_cli.inference import in_torch

    return in_torch.window_network(in_torch.trained(about, weights.tensors(PREFIX)))


def _steps_in_torch(about: Mapping[str, Any], weights: Weights) -> StepNetwork:
    from vmm_cli.inference import in_torch

    return in_torch.step_network(in_torch.trained(about, weights.tensors(PREFIX)))


def check(bundle: Bundle) -> None:
    """Raise ModelError where a bundle's parts do not fit each other; needs no torch."""
    try:
        _refuse_misfits(bundle)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _cannot_run(bundle, error) from None


def _cannot_run(bundle: Bundle, error: Exception) -> ModelError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    said = shorten(reason, LONGEST_REASON, placeholder=" ...")
    return ModelError(f"model {bundle.name!r} has a network this vmm cannot run: {said}")


def _refuse_misfits(bundle: Bundle) -> None:
    """Raise ValueError, KeyError or TypeError where a bundle's parts do not fit each other."""
    about = bundle.network
    names = [stream["name"] for stream in about["streams"]]
    if len(names) > MAX_STREAMS:
        raise ValueError(f"it has {len(names)} streams")
    if names != list(bundle.streams):
        raise ValueError(f"it reads {names}, and not {list(bundle.streams)}")
    words = {"text"} if about.get("vocabulary") is not None else set()
    if lacking := set(names) - bundle.encoders.keys() - words:
        raise ValueError(f"it has no encoder for {', '.join(sorted(lacking))}")
    if about["outputs"] != len(bundle.labels):
        raise ValueError(f"it has {about['outputs']} outputs for {len(bundle.labels)} labels")
    if not 0 < about["layers"] <= MAX_LAYERS:
        raise ValueError(f"it has {about['layers']} layers")
    if not 0 < about.get("levels", 1) <= MAX_LEVELS:
        raise ValueError(f"it has {about['levels']} levels")
