"""A trained network of several streams, read from its bundle and ready to be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.plan import StreamPlan, plan_of

if TYPE_CHECKING:
    from vmm_cli.networks.model import FusionNetwork

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
        tokens: makes int64 [L] of a text, for a network with a vocabulary.
    """

    bundle: Bundle
    network: FusionNetwork
    plan: StreamPlan
    tokens: Callable[[str], np.ndarray] | None
    multi_label: bool


@lru_cache(maxsize=2)
@progress.loading()
def load_trained(folder: Path, digest: str) -> Trained:
    """Return the model of a bundle whose `Bundle.digest` is known; a worker keeps it.

    Raises:
        ModelError: it is damaged, was exchanged meanwhile, or its parts do not fit each other.
    """
    import torch

    from vmm_cli.inference.network import network_from, tokens_from

    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    about = bundle.network
    plan = plan_of(bundle)
    check(bundle)
    tensors = bundles.load_tensors(bundle, "network.")
    try:
        with torch.device("meta"):  # what a bundle asks for takes memory only where it has weights
            network = network_from(about)
        if bundle.task == "segments" and network.receptive_field is None:
            raise ValueError("what it says of a step depends on the whole video")
        described = {k: tuple(v.shape) for k, v in network.state_dict().items()}
        _refuse_other_tensors(described, {k: v.shape for k, v in tensors.items()})
        state = {k: torch.from_numpy(v.copy()) for k, v in tensors.items()}
        network.load_state_dict(state, assign=True)
        tokens = tokens_from(about)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, RuntimeError) as error:
        raise _cannot_run(bundle, error) from None
    network.eval().requires_grad_(False)
    return Trained(bundle, network, plan, tokens, bool(about.get("multi_label")))


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


def _refuse_other_tensors(
    described: Mapping[str, tuple[int, ...]], there: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ValueError where the weights are not those of the network that is described."""
    names = sorted(described.keys() | there.keys())
    wrong = [name for name in names if described.get(name) != there.get(name)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(
            f"{bundles.BUNDLE_FILE} describes another network than {bundles.WEIGHTS_FILE} is of: "
            f"they differ in {wrong[0]}{more}; fetch or train the model again"
        )


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
