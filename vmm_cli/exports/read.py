"""An exported model, run by vmm itself: so that it can be measured on labelled videos."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli import progress
from vmm_cli.bundles import Bundle, EncoderSpec, SamplingSpec
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.exports.folder import (
    EXPORT_FILE,
    LABELS_FILE,
    MAX_FILE_BYTES,
    PREPROCESSING_FILE,
    described,
)
from vmm_cli.exports.formats import FORMATS, PRECISIONS, opened
from vmm_cli.exports.network import MAX_MODEL_BYTES, Run
from vmm_cli.features.clips import iter_prepared
from vmm_cli.features.encoder import sampling_of
from vmm_cli.features.grid import ROUNDING_S, grid_times, windows
from vmm_cli.features.image_stream import STREAM
from vmm_cli.features.preprocess import Preprocess
from vmm_cli.inference.windows import CHUNK_STEPS
from vmm_cli.media.frames import DecodeReport
from vmm_cli.media.sampling import every
from vmm_cli.media.video import Video, past_end
from vmm_cli.output.owned import digest_of
from vmm_cli.plain_file import UnreadableError, open_regular, read_regular, size_text

HEAD = "exported"  # what `Bundle.network` says of how it is run
MAX_EVERY_S = 1e6
_SETTINGS = ("short_side", "crop", "mean", "scale", "resize", "frames", "rate_hz")


def is_export(name: str) -> bool:
    """Tell whether `name` is the path of an exported model."""
    return Path(name, EXPORT_FILE).is_file()


def is_for(bundle: Bundle) -> bool:
    """Tell whether a model is an exported one, as `load` returns it."""
    return bundle.network.get("head") == HEAD


def load(name: str) -> Bundle:
    """Return an exported model as what stands for models everywhere; its files were verified.

    Raises:
        ModelError: it is damaged, or its files could run code when they are read.
    """
    folder = Path(name)
    try:
        said = described(folder)
        _verify(folder, said["files"])
        labels = _read(folder / LABELS_FILE).split("\n")
        how = json.loads(_read(folder / PREPROCESSING_FILE))
        settings = {key: how[key] for key in _SETTINGS}
        if how["size"] is not None:
            settings["width"] = how["size"][1]
        row = FORMATS[said["format"]]
        Preprocess.from_dict(settings)
        model = said["model"]
        bundle = Bundle(
            folder=folder.resolve(),
            digest=hashlib.sha256(read_regular(folder / EXPORT_FILE, MAX_FILE_BYTES)).hexdigest(),
            name=f"{model['name']}:{said['format']}-{said['precision']}",
            version=int(model["version"]),
            summary=f"{model['name']}, exported for {row.title}",
            task="classes",
            labels=tuple(labels),
            streams=(STREAM,),
            encoders={STREAM: EncoderSpec(HEAD, model["digest"], settings)},
            network={
                "head": HEAD,
                "pool": "mean-probability",
                "format": said["format"],
                "window_s": how["window_s"],
            },
            sampling=SamplingSpec(float(how["every_s"]), free=True),
            thresholds={},
            licence={},
            weights_digest=said["files"][row.files[0]],
        )
        if how["window_s"] is not None and not 0 < how["window_s"] < MAX_EVERY_S:
            raise ValueError("does not say how long its windows are")
        if said["precision"] not in PRECISIONS or not 0 < bundle.sampling.every_s < MAX_EVERY_S:
            raise ValueError("does not say how it was exported")
        if lacking := {*row.files, LABELS_FILE, PREPROCESSING_FILE} - said["files"].keys():
            raise ValueError(f"does not name {', '.join(sorted(lacking))}")
    except (
        *(ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError),
        *(OSError, UnreadableError),
    ) as error:
        reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(f"{folder / EXPORT_FILE}: {reason}; export the model again") from None
    if not row.safe:
        raise ModelError(
            f"{folder}: is exported for {row.title}, whose files can run code when they are read; "
            "evaluate an export for onnx or openvino"
        )
    return bundle


def probabilities(bundle: Bundle, video: Video) -> np.ndarray:
    """Return the probabilities of an exported model's labels for a video: float64 [L].

    Raises:
        InputError: the video cannot be read.
        ModelError: the model changed meanwhile.
    """
    run = _opened(bundle.folder, bundle.digest)
    found = [run(look[None])[0] for look in _looks(bundle, video)]
    if not found:
        if video.start >= video.pictures_end_s > 0:
            raise past_end(video.start, video.pictures_end_s)
        raise InputError("no_video", "there is no picture at any of the wanted times")
    mean: np.ndarray = np.stack(found).mean(axis=0, dtype=np.float64)
    return mean


def _looks(bundle: Bundle, video: Video) -> Iterator[np.ndarray]:
    """Yield pictures, clips or windows of a video: uint8 [..., H, W, 3]."""
    numbers = Preprocess.from_dict(bundle.encoders[STREAM].preprocess)
    if bundle.network["window_s"] is not None:
        yield from _windows(video, numbers, Fraction(str(bundle.network["window_s"])))
        return
    step = Fraction(str(bundle.sampling.every_s))
    sampling = every(step, start=video.start, end=video.end)
    for _, look in iter_prepared(video, numbers, sampling, until=video.end, report=DecodeReport()):
        yield look


def _windows(video: Video, numbers: Preprocess, window_s: Fraction) -> Iterator[np.ndarray]:
    """Yield the pictures of each window, uint8 [T, H, W, 3], as `features.windows` times them."""
    rate_hz = Fraction(str(numbers.rate_hz))
    picture = replace(numbers, frames=1, rate_hz=0.0)
    every_one = windows(video.start, video.until_s, window_s)
    at_once = max(1, CHUNK_STEPS // numbers.frames)
    for first in range(0, len(every_one), at_once):
        chunk = every_one[first : first + at_once]
        wanted = sampling_of(chunk, rate_hz)
        seen = [*iter_prepared(video, picture, wanted, until=None, report=DecodeReport())]
        times = [time_s for time_s, _ in seen]
        for window in chunk if seen else ():
            shown_by = grid_times(window, rate_hz) + float(ROUNDING_S)
            at = np.searchsorted(times, shown_by, side="right") - 1
            yield np.stack([seen[i][1] for i in np.maximum(at, 0)])


def check(bundle: Bundle) -> None:
    """Open an exported model and try it. ModelError where it gives no probabilities of its labels.

    A worker opens it again: here nothing of it is kept.
    """
    _open(bundle)


@lru_cache(maxsize=1)
@progress.loading()
def _opened(folder: Path, digest: str) -> Run:
    bundle = load(str(folder))
    if bundle.digest != digest:
        raise ModelError(f"model {bundle.name!r} changed while it was in use; start again")
    return _open(bundle)


def _open(bundle: Bundle) -> Run:
    numbers = Preprocess.from_dict(bundle.encoders[STREAM].preprocess)
    try:
        return opened(bundle.network["format"], bundle.folder, numbers.shape, len(bundle.labels))
    except UsageError as error:
        raise ModelError(str(error)) from None


def _verify(folder: Path, files: Mapping[str, Any]) -> None:
    for name, digest in files.items():
        with open_regular(folder / name) as (_, size):
            if size > MAX_MODEL_BYTES:
                raise ValueError(f"{name} is larger than {size_text(MAX_MODEL_BYTES)}")
        if digest_of(folder / name) != digest:
            raise ValueError(f"refused: {name} has another SHA-256 digest than it names")


def _read(path: Path) -> str:
    return read_regular(path, MAX_FILE_BYTES).decode()
