"""Export a model: write its folder, look whether it gives vmm's labels, measure what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.batch.tally import Standing
from vmm_cli.bundles import Bundle
from vmm_cli.engines import choice
from vmm_cli.errors import InputError, ModelError, UsageError
from vmm_cli.exports import cost, onnx_model
from vmm_cli.exports.folder import refuse_foreign, whole_folder, write_rest
from vmm_cli.exports.formats import FORMATS, PRECISIONS, opened
from vmm_cli.exports.kinds import exportable, vmm_s_own, whole_graph
from vmm_cli.exports.network import Exportable, Run, checked, refusing, required_runtime
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
        jobs: how many videos are read at once; None: as many as cores and memory allow.
    """

    bundle: Bundle
    output: Path
    format: str = "onnx"
    precision: str = "fp32"
    videos: Sequence[tuple[str, Path]] = ()
    overwrite: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS
    jobs: int | None = None


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

    It is written in float32 and tried before any video is opened.

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
    _refuse_missing(request)
    listener.stage("writing the model")
    whole = whole_graph(model)
    plain = whole.SerializeToString()
    before = _in_float32(model, plain)
    shown = None
    with whole_folder(request.output, request.overwrite) as folder:
        # In 8 bits it needs videos: then it is tried in float32, and written over that.
        precision = PRECISIONS[0] if _calibrates(request) else request.precision
        after = _written(request, model, whole, folder, precision)
        if request.videos:
            shown = shown_in(
                request.videos, model.numbers, request.max_pixels, request.jobs, listener.reading
            )
        if _calibrates(request):
            assert shown is not None
            listener.stage("rounding it to 8 bits")
            calibrating = shown.calibrating
            after = _written(request, model, whole, folder, request.precision, calibrating)
        listener.stage("measuring it")
        files = FORMATS[request.format].files
        measured = {
            "bytes": {
                "before": len(plain),
                "after": sum((folder / name).stat().st_size for name in files),
            },
            **_measured(request, before, after, model.example if shown is None else shown),
        }
        write_rest(folder, model, request.format, request.precision, measured)
    document = {
        "schema": "vmm.export/1",
        "model": {"name": request.bundle.name, "version": request.bundle.version},
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


def _refuse_missing(request: ExportRequest) -> None:
    """Raise a VmmError where $VMM_ENGINE is none, or a package is missing."""
    choice.chosen_engine()
    FORMATS[request.format].check_packages()
    if _calibrates(request):
        from vmm_cli.exports.int8 import required_tools

        required_tools()


def _calibrates(request: ExportRequest) -> bool:
    return request.precision == PRECISIONS[-1]


def _in_float32(model: Exportable, plain: bytes) -> Run:
    """Return a graph as a function, once it gave what vmm gives. ModelError where it does not."""
    name = f"model {model.bundle.name!r}"
    session = onnx_model.session_of(required_runtime(), plain, name)
    run = checked(session, name, len(model.bundle.labels))
    apart = float(np.abs(vmm_s_own(model)(model.example) - run(model.example)).max())
    if not apart <= TOLERANCE:
        raise ModelError(
            f"{name} is not exported: joined to one graph, its probabilities are up to "
            f"{apart:.2g} off those of vmm"
        )
    return run


def _written(
    request: ExportRequest,
    model: Exportable,
    whole: Any,
    folder: Path,
    precision: str,
    calibrating: np.ndarray | None = None,
) -> Run:
    """Write a model into its folder; return it from there as a function, which was tried."""
    row = FORMATS[request.format]
    with refusing(request.bundle, f"it cannot be written for {row.title} in {precision}"):
        row.write(model, whole, folder, precision, calibrating)
        return opened(request.format, folder, model.numbers.shape, len(model.bundle.labels))


def _measured(
    request: ExportRequest, before: Run, after: Run, on: Shown | np.ndarray
) -> dict[str, Any]:
    """Return speed and agreement, as JSON types, on what videos show, or on noise."""
    shown = on if isinstance(on, Shown) else None
    looked_at = on.measured if isinstance(on, Shown) else on
    alike = _compared(request, before, after, looked_at)
    return {
        "looks_per_second": cost.speed(before, after, looked_at[:1]).to_record(),
        "calibrated_on": len(shown.calibrating) if shown and _calibrates(request) else 0,
        "agreement": None if shown is None else alike.to_record(),
        "videos": None if shown is None else {"given": shown.given, "opened": shown.opened},
    }


def _compared(
    request: ExportRequest, before: Run, after: Run, looked_at: np.ndarray
) -> cost.Agreement:
    """Compare with float32. ModelError where float32 itself is something else."""
    found = cost.run_all(after, looked_at)
    alike = cost.agreement(cost.run_all(before, looked_at), found)
    if request.precision == PRECISIONS[0] and not alike.largest_difference <= TOLERANCE:
        raise ModelError(
            f"model {request.bundle.name!r} is not exported: for "
            f"{FORMATS[request.format].title} its probabilities are up to "
            f"{alike.largest_difference:.2g} off"
        )
    return alike
