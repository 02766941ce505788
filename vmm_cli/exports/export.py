"""Export a model: write its folder, look whether it gives vmm's labels, measure what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.batch.tally import Standing
from vmm_cli.bundles import Bundle
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.exports import cost, onnx_model
from vmm_cli.exports.folder import refuse_foreign, whole_folder, write_rest
from vmm_cli.exports.formats import FORMATS, PRECISIONS
from vmm_cli.exports.network import (
    Exportable,
    exportable,
    required_runtime,
    vmm_s_own,
    whole_graph,
)
from vmm_cli.exports.pictures import Shown, shown_in
from vmm_cli.media.limits import DEFAULT_MAX_PIXELS

# Of any probability, over what vmm gives: other sums of the same numbers in float32.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is wanted of an export.

    Attributes:
        bundle: the model.
        output: the folder to write.
        format: a key of `FORMATS`; precision: one of `PRECISIONS`.
        videos: to calibrate and to compare with, each with its name; none: no comparison.
        overwrite: whether an earlier export may be replaced.
        jobs: how many videos are read at once.
    """

    bundle: Bundle
    output: Path
    format: str = "onnx"
    precision: str = "fp32"
    videos: Sequence[tuple[str, Path]] = ()
    overwrite: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes:
        document: the model, the export, and what it costs and gains, as JSON types.
        failed: by name, why videos cannot be read.
    """

    document: dict[str, Any]
    failed: dict[str, InputError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears how far an export is: what is going on, and how far the videos are read."""

    stage: Callable[[str], None] = lambda what: None
    reading: Callable[[Standing], None] = lambda standing: None


def export(request: ExportRequest, listener: Listener = Listener()) -> Exported:
    """Export a model.

    Raises:
        UsageError: the options contradict each other, something else is where it is to go, or a
            package is missing.
        ModelError: the model is of no kind that can be exported, is damaged, or would give other
            labels elsewhere.
        DataError: no video can be read.
        OutputError: the folder cannot be written.
    """
    _refuse_contradictions(request)
    model = exportable(request.bundle)
    shown = None
    if request.videos:
        shown = shown_in(
            request.videos, model.numbers, request.max_pixels, request.jobs, listener.reading
        )
    listener.stage("writing the model")
    whole = whole_graph(model)
    row = FORMATS[request.format]
    with whole_folder(request.output, request.overwrite) as folder:
        calibrating = None if shown is None else shown.calibrating
        row.write(model, whole, folder, request.precision, calibrating)
        listener.stage("measuring it")
        measured = _measured(request, model, whole, folder, shown)
        write_rest(folder, model, request.format, request.precision, measured)
    bundle = request.bundle
    document = {
        "schema": "vmm.export/1",
        "model": {"name": bundle.name, "version": bundle.version},
        "folder": str(request.output),
        "format": request.format,
        "precision": request.precision,
        **measured,
    }
    return Exported(document, {} if shown is None else shown.failed)


def _refuse_contradictions(request: ExportRequest) -> None:
    row = FORMATS[request.format]
    if request.precision not in row.precisions:
        others = [name for name, one in FORMATS.items() if request.precision in one.precisions]
        raise UsageError(
            f"--precision {request.precision} is not for --format {request.format}; it is for "
            f"{' and '.join(others)}"
        )
    if request.precision == PRECISIONS[-1] and not request.videos:
        raise UsageError(
            "--precision int8 needs --calibrate: videos such as the model is to see, by which the "
            "ranges of its values are found"
        )
    refuse_foreign(request.output, request.overwrite)


def _measured(
    request: ExportRequest, model: Exportable, whole: Any, folder: Path, shown: Shown | None
) -> dict[str, Any]:
    """Return size, speed and agreement with float32, as JSON types.

    Raises:
        ModelError: in float32 it gives something else than vmm does.
    """
    row = FORMATS[request.format]
    plain = whole.SerializeToString()
    before = onnx_model.session_of(required_runtime(), plain, request.bundle.name)
    after = row.open_model(folder)
    looked_at = model.example if shown is None else shown.measured
    _compare_with_vmm(request, model, before(model.example), "joined to one graph")
    found = cost.run_all(after, looked_at)
    reference = cost.run_all(before, looked_at)
    alike = cost.agreement(reference, found)
    if request.precision == PRECISIONS[0] and not alike.largest_difference <= TOLERANCE:
        raise ModelError(
            f"model {request.bundle.name!r} is not exported: for {row.title} its probabilities are "
            f"up to {alike.largest_difference:.2g} off"
        )
    return {
        "bytes": {
            "before": len(plain),
            "after": sum((folder / name).stat().st_size for name in row.files),
        },
        "looks_per_second": cost.speed(before, after, looked_at[:1]).to_record(),
        "calibrated_on": len(shown.calibrating) if shown and _calibrates(request) else 0,
        "agreement": None if shown is None else alike.to_record(),
    }


def _calibrates(request: ExportRequest) -> bool:
    return request.precision == PRECISIONS[-1]


def _compare_with_vmm(
    request: ExportRequest, model: Exportable, found: np.ndarray, how: str
) -> None:
    apart = float(np.abs(vmm_s_own(model)(model.example) - found).max())
    if not apart <= TOLERANCE:
        raise ModelError(
            f"model {request.bundle.name!r} is not exported: {how}, its probabilities are up to "
            f"{apart:.2g} off those of vmm"
        )
