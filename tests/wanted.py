"""Options as tests write them, as what operations make of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from vmm_cli.bundles import Bundle
from vmm_cli.inference.classify_request import ClassifyRequest
from vmm_cli.operations.classify import ClassifyOptions, check_options
from vmm_cli.operations.classify_models import pictures_request
from vmm_cli.operations.detect_actions import DetectOptions, Job, job_of, settle


def exact(seconds: float | Fraction | None) -> Fraction | None:
    """Return seconds as they are written."""
    return None if seconds is None else Fraction(str(seconds))


def classify_request(
    bundle: Bundle,
    *,
    every_s: float | None = None,
    frames: int | None = None,
    windows_s: float | None = None,
    start: float | Fraction = 0,
    end: float | Fraction | None = None,
    use_store: bool = True,
    **more: Any,
) -> ClassifyRequest:
    """Return what `vmm classify` makes of options for a model of pictures."""
    options = ClassifyOptions(
        model=bundle.name,
        every=exact(every_s),
        count=frames,
        windows=exact(windows_s),
        start=Fraction(start),
        end=None if end is None else Fraction(end),
        no_store=not use_store,
        **more,
    )
    check_options(options)
    return pictures_request(options, bundle)


def detect_job(bundle: Bundle, *, scores: bool = False, use_store: bool = True, **more: Any) -> Job:
    """Return what `vmm detect-actions` makes of options for a model; `scores`: as for a picture."""
    options = settle(DetectOptions(no_store=not use_store, **more), bundle)
    job = job_of(options, bundle)
    return replace(job, wanted=replace(job.wanted, scores=scores))
