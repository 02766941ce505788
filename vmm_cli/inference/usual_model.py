"""What is usual as a bundle: its description and its tensors, and back. No PyTorch is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import bundles, progress
from vmm_cli.bundles import Bundle
from vmm_cli.errors import ModelError
from vmm_cli.features.plan import StreamPlan, plan_of
from vmm_cli.inference.usual import (
    FRONT_ENDS,
    TAIL_LEVELS,
    Neighbours,
    Places,
    Tail,
    Usual,
    UsualStream,
)
from vmm_cli.tasks import UNUSUAL, USUAL

PREFIX = "usual."
# More would be no model that a recipe can ask for.
MAX_STREAMS = 16
MAX_WIDTH, MAX_COMPONENTS, MAX_BANK = 2**17, 4096, 65_536
MAX_NEAREST, MAX_SMOOTHING, MAX_SIDE = 1000, 36_001, 1024


@dataclass(frozen=True, slots=True, eq=False)
class UsualModel:
    """A model of what is usual, ready to be compared with; `plan`: what it wants of a video."""

    bundle: Bundle
    plan: StreamPlan
    usual: Usual


def described(usual: Usual, rate_hz: float, window_s: float) -> dict[str, Any]:
    """Return what `bundle.yaml` says of what is usual, as JSON types."""
    return {
        "kind": USUAL,
        "rate_hz": rate_hz,
        "window_s": window_s,
        "outputs": 1,
        "multi_label": False,
        "smoothing": usual.smoothing,
        "streams": [_said(stream) for stream in usual.streams],
    }


def _said(stream: UsualStream) -> dict[str, Any]:
    said: dict[str, Any] = {"name": stream.name, "front_end": stream.front_end}
    said["width"] = len(stream.model.centre)
    if stream.grid is not None:
        said["rows"], said["columns"] = stream.grid
    if isinstance(stream.model, Neighbours):
        bank, components = stream.model.bank.shape
        said |= {"nearest": stream.model.nearest, "components": components, "bank": bank}
    return said


def tensors_of(usual: Usual) -> dict[str, np.ndarray]:
    """Return what is usual as tensors by name, float32."""
    tensors = {f"{PREFIX}tail": _tail_tensor(usual.tail)}
    for stream in usual.streams:
        model, prefix = stream.model, f"{PREFIX}{stream.name}."
        tensors |= {
            f"{prefix}tail": _tail_tensor(stream.tail),
            f"{prefix}centre": model.centre,
            f"{prefix}scale": model.scale,
        }
        if isinstance(model, Neighbours):
            tensors |= {f"{prefix}components": model.components, f"{prefix}bank": model.bank}
    return tensors


def _tail_tensor(tail: Tail) -> np.ndarray:
    return np.append(tail.levels, tail.mean_excess).astype(np.float32)


# --- and back -----------------------------------------------------------------------------------


@lru_cache(maxsize=2)
@progress.loading()
def load_usual(folder: Path, digest: str) -> UsualModel:
    """Return the model of a bundle whose `Bundle.digest` is known; a worker keeps it.

    Raises:
        ModelError: it is damaged, was exchanged meanwhile, or its parts do not fit each other.
    """
    bundle = bundles.read(folder)
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    check_usual(bundle)
    tensors = bundles.load_weights(bundle).tensors(PREFIX)
    try:
        usual = usual_from(bundle.network, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(bundle, error) from None
    return UsualModel(bundle, plan_of(bundle), usual)


def check_usual(bundle: Bundle) -> None:
    """Raise ModelError where a bundle is no model of what is usual; its weights are not read."""
    plan_of(bundle)
    try:
        about = bundle.network
        if about["kind"] != USUAL or bundle.labels != (UNUSUAL,):
            raise ValueError("it says that it is another kind")
        _number(about, "smoothing", MAX_SMOOTHING)
        names = [_checked(stream)["name"] for stream in about["streams"]]
        if not 0 < len(names) <= MAX_STREAMS or len(set(names)) < len(names):
            raise ValueError(f"it has {len(names)} streams")
        if names != list(bundle.streams) or set(names) - bundle.encoders.keys():
            raise ValueError(f"it reads {names}, and not {list(bundle.streams)}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refused(bundle, error) from None


def _refused(bundle: Bundle, error: Exception) -> ModelError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)[:300]
    return ModelError(f"model {bundle.name!r} cannot be compared with: {reason}")


def _checked(stream: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is said of a stream. ValueError, KeyError or TypeError where it cannot be."""
    if not isinstance(stream["name"], str) or stream["front_end"] not in FRONT_ENDS:
        raise ValueError("a stream of it has no name, or a front end that there is not")
    width = _number(stream, "width", MAX_WIDTH)
    if "bank" in stream:
        _number(stream, "nearest", MAX_NEAREST)
        _number(stream, "components", min(width, MAX_COMPONENTS))
        _number(stream, "bank", MAX_BANK)
    elif "rows" not in stream:
        raise ValueError("a stream of it has neither neighbours nor places")
    if "rows" in stream:
        rows, columns = (_number(stream, key, MAX_SIDE) for key in ("rows", "columns"))
        if "bank" not in stream and rows * columns != width:
            raise ValueError(f"a stream of it has {rows} x {columns} places for {width} values")
    return stream


def _number(said: Mapping[str, Any], key: str, most: int) -> int:
    value = said[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise ValueError(f"its {key} is not a whole number from 1 to {most}")
    return value


def usual_from(about: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Usual:
    """Return what a checked description and its tensors say is usual.

    Raises:
        KeyError, ValueError: a tensor is lacking, or of another shape or type.
    """
    streams = tuple(_stream_from(said, tensors) for said in about["streams"])
    return Usual(streams, about["smoothing"], _tail_from(tensors["tail"]))


def _stream_from(said: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> UsualStream:
    name, width = said["name"], said["width"]

    def tensor(key: str, *shape: int) -> np.ndarray:
        return _fitting(tensors[f"{name}.{key}"], f"{name}.{key}", shape)

    centre, scale = tensor("centre", width), tensor("scale", width)
    if not (scale > 0).all():
        raise ValueError(f"a spread of its {name} is not above 0")
    model: Neighbours | Places = Places(centre, scale)
    if "bank" in said:
        components = tensor("components", width, said["components"])
        bank = tensor("bank", said["bank"], said["components"])
        model = Neighbours(centre, scale, components, bank, said["nearest"])
    grid = (said["rows"], said["columns"]) if "rows" in said else None
    return UsualStream(name, said["front_end"], grid, model, _tail_from(tensors[f"{name}.tail"]))


def _tail_from(values: np.ndarray) -> Tail:
    values = _fitting(values, "tail", (TAIL_LEVELS + 1,)).astype(np.float64)
    levels, excess = values[:-1], float(values[-1])
    if (np.diff(levels) < 0).any() or excess <= 0:
        raise ValueError("its levels do not ascend, or nothing lies above them")
    return Tail(levels, excess)


def _fitting(values: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape or values.dtype != np.float32 or not np.isfinite(values).all():
        raise ValueError(f"its tensor {name} is not float32 {list(shape)} of finite numbers")
    return values
