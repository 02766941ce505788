"""How each kind of model is run by `vmm classify`: the work, of the options.

It looks at pictures, sees windows of streams, hears sounds, or joins networks that do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vmm_cli.batch.work import Work
from vmm_cli.errors import OptionError
from vmm_cli.operations.device import device_wanted
from vmm_cli.operations.operation import Prepared
from vmm_cli.operations.sampled import sampling_text

# What computes loads when a model is there to be run.
if TYPE_CHECKING:
    from vmm_cli.analysis.labels import Classification
    from vmm_cli.batch.inputs import Input
    from vmm_cli.bundles import Bundle
    from vmm_cli.inference.classify import Part, PartResult
    from vmm_cli.inference.classify_request import ClassifyRequest
    from vmm_cli.inference.classify_sounds import SoundsRequest
    from vmm_cli.inference.classify_tags import TagsRequest
    from vmm_cli.inference.classify_windows import WindowsRequest
    from vmm_cli.media.sampling import Sampling
    from vmm_cli.operations.classify import ClassifyOptions

# torch, the network and a batch of pictures peak at 390 MB with a 720p file; the 16 reference
# pictures that H.264 allows in 4K take 200 MB more.
WORKER_MEMORY_BYTES = 600 * 2**20
# 4K instead of full HD: the 16 reference pictures that H.264 allows, and one picture as floats.
LARGE_VIDEO_MIB = 250

CHOICES = ("every", "count")  # options for which pictures, of which one is given at most


def _refuse_explaining(options: ClassifyOptions, model: Bundle, why: str) -> None:
    if options.explain or options.strips is not None:
        raise OptionError(
            "model {model!r} {why}: {explain} and {strips} need a model made by `vmm train`",
            model=model.name,
            why=why,
        )


def of_pictures(
    options: ClassifyOptions, model: Bundle
) -> Prepared[ClassifyOptions, ClassifyRequest, Any, Any]:
    """Return the work of a model that looks at single pictures, or short clips."""
    _refuse_explaining(options, model, "looks at single pictures")
    request = pictures_request(options, model)
    device = device_wanted(options.device)
    work = Work(request, run=run, finish=finish, plan=plan, device=device)
    # The model's own step, given as an option, is the same pictures.
    settled = replace(options, every=request.sampling.step_s)
    earlier = {
        "sampling": sampling_text(request.sampling),
        "top_k": options.top_k,
        "windows_s": request.windows_s,
        "max_pixels": options.max_pixels,
    }
    return Prepared(settled, work, _memory_bytes(model), earlier=earlier, takes_stills=True)


def _memory_bytes(model: Bundle) -> int:
    """Return what a worker takes: what was measured of the model, where that is more."""
    from vmm_cli.bundles.published import TORCHVISION

    row = TORCHVISION.get(model.encoders["image"].name)
    measured = 0 if row is None else (row.memory_mib + LARGE_VIDEO_MIB) * 2**20
    return max(WORKER_MEMORY_BYTES, measured)


def pictures_request(options: ClassifyOptions, model: Bundle) -> ClassifyRequest:
    """Return what is wanted of a model that looks at pictures.

    Raises:
        OptionError: the options would change a model's own sampling, or leave windows empty.
        ModelError: the model does not classify.
    """
    from vmm_cli.inference.classify_request import classify_request

    request = classify_request(
        model,
        start=options.start,
        end=options.end,
        top_k=options.top_k,
        use_store=not options.no_store,
        max_pixels=options.max_pixels,
    )
    if not model.sampling.free and not (options.every is None and options.count is None):
        raise OptionError(
            "model {name!r} was trained with its own sampling (one picture each {step_s:g} s); "
            "leave out {every} and {count}",
            name=model.name,
            step_s=model.sampling.every_s,
        )
    windows_s = None if options.windows is None else float(options.windows)
    return replace(request, sampling=_sampling(options, model), windows_s=windows_s)


def _sampling(options: ClassifyOptions, model: Bundle) -> Sampling:
    """Return which pictures are looked at.

    Where a timeline's windows are shorter than the model's own step, and it leaves the sampling
    free, one picture each window.
    """
    from vmm_cli.media import sampling

    start, end = options.start, options.end
    # Via str: 0.1 means one tenth, not the nearest binary fraction.
    step = Fraction(str(model.sampling.every_s)) if options.every is None else options.every
    if options.windows is not None and options.count is None and options.windows < step:
        if options.every is not None or not model.sampling.free:
            raise OptionError(
                "{windows} {length_s:g} is shorter than the step of {step_s:g} s between pictures: "
                "some windows would hold none",
                length_s=float(options.windows),
                step_s=float(step),
            )
        step = options.windows
    try:
        if options.count is not None:
            return sampling.count(options.count, start=start, end=end)
        return sampling.every(step, start=start, end=end)
    except ValueError as error:
        raise OptionError("{said}", said=error) from None


def of_windows(
    options: ClassifyOptions, model: Bundle
) -> Prepared[ClassifyOptions, WindowsRequest, Any, Any]:
    """Return the work of a model that sees windows of streams; its sampling is its own."""
    from vmm_cli.features.plan import plan_of
    from vmm_cli.inference import classify_windows

    settled = replace(options, explain=options.explain or options.strips is not None)
    request = classify_windows.windows_request(
        model,
        start=options.start,
        end=options.end,
        top_k=options.top_k,
        windows_s=None if options.windows is None else float(options.windows),
        explain=settled.explain,
        use_store=not options.no_store,
        max_pixels=options.max_pixels,
    )
    given = [f"{{{one}}}" for one in CHOICES if getattr(options, one) is not None]
    if given:
        raise OptionError(
            "model {name!r} was trained with its own sampling ({rate_hz:g} pictures a second in "
            f"windows of {{window_s:g}} s); leave out {' and '.join(given)}",
            name=model.name,
            rate_hz=1 / model.sampling.every_s,
            window_s=float(plan_of(model).window_s),
        )
    work = Work(
        request,
        run=classify_windows.run,
        finish=classify_windows.finish,
        plan=classify_windows.plan,
        device=device_wanted(options.device),
    )
    if options.strips is not None:
        from vmm_cli.output.pictured import Pictures
        from vmm_cli.pictures.explain_strip import STRIP

        work = replace(work, beside=(Pictures(STRIP, options.strips, options.overwrite),))
    return Prepared(settled, work, WORKER_MEMORY_BYTES)


def of_sounds(
    options: ClassifyOptions, model: Bundle
) -> Prepared[ClassifyOptions, SoundsRequest, Any, Any]:
    """Return the work of a model that hears sounds."""
    from vmm_cli.inference import classify_sounds

    _refuse_explaining(options, model, "hears sounds")
    if options.every is not None or options.count is not None:
        raise OptionError(
            "model {name!r} hears all of the sound; leave out {every} and {count}", name=model.name
        )
    if options.windows is not None and options.windows < model.sampling.every_s:
        raise OptionError(
            "{windows} {length_s:g} is shorter than the step of {step_s:g} s from one look at the "
            "sound to the next: some windows would hold none",
            length_s=float(options.windows),
            step_s=model.sampling.every_s,
        )
    request = classify_sounds.SoundsRequest(
        bundle=model.folder.resolve(),
        bundle_digest=model.digest,
        start=options.start,
        end=options.end,
        top_k=options.top_k,
        windows_s=None if options.windows is None else float(options.windows),
        use_store=not options.no_store,
        max_pixels=options.max_pixels,
    )
    work = Work(request, run=classify_sounds.run, finish=classify_sounds.finish)
    return Prepared(options, work, WORKER_MEMORY_BYTES, takes_sound=True)


def of_tags(
    options: ClassifyOptions, model: Bundle
) -> Prepared[ClassifyOptions, TagsRequest, Any, Any]:
    """Return the work of a model that joins networks: see `inference.classify_tags`."""
    from vmm_cli import bundles
    from vmm_cli.features.sightings import Watching
    from vmm_cli.inference import classify_tags

    _refuse_explaining(options, model, "joins networks")
    joined = finder, seeing, hearing = [bundles.load(name) for name in classify_tags.JOINED]
    pictures = of_pictures(replace(options, model=seeing.name), seeing)
    sounds = of_sounds(replace(options, every=None, count=None), hearing)
    request = classify_tags.TagsRequest(
        bundle=model.folder.resolve(),
        bundle_digest=model.digest,
        watching=Watching(finder),
        pictures=pictures.work.job,
        sounds=sounds.work.job,
        top_k=options.top_k,
        windows_s=None if options.windows is None else float(options.windows),
    )
    work = Work(
        request,
        run=classify_tags.run,
        finish=classify_tags.finish,
        plan=classify_tags.plan,
        device=device_wanted(options.device),
    )
    settled = replace(pictures.options, model=options.model)
    digests = " ".join(one.journal_digest for one in (model, *joined))
    return Prepared(
        settled, work, WORKER_MEMORY_BYTES, digests, takes_stills=True, takes_sound=True
    )


# --- the work on pictures, for workers: the parent loads nothing of it ----------------------------


def plan(request: ClassifyRequest, input: Input, workers: int) -> list[Part | None]:
    """See `inference.classify.plan`."""
    from vmm_cli.inference import classify

    return classify.plan(request, input, workers)


def run(request: ClassifyRequest, input: Input, part: Part | None) -> PartResult:
    """See `inference.classify.run`."""
    from vmm_cli.inference import classify

    return classify.run(request, input, part)


def finish(request: ClassifyRequest, input: Input, parts: Sequence[PartResult]) -> Classification:
    """See `inference.classify.finish`."""
    from vmm_cli.inference import classify

    return classify.finish(request, input, parts)
