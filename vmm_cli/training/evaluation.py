"""How good a model is on labelled videos: it sees each as `vmm classify` would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vmm_cli.analysis import classify, classify_windows
from vmm_cli.analysis.segments import Detection
from vmm_cli.batch.gather import gather
from vmm_cli.batch.inputs import Input
from vmm_cli.batch.tally import Standing
from vmm_cli.bundles import Bundle
from vmm_cli.encoders.plan import plan_of
from vmm_cli.errors import DataError, InputError, ModelError
from vmm_cli.inference.load import check
from vmm_cli.inference.steps import check_segment_model, find_segments, run_steps
from vmm_cli.inference.valence import NOTHING, check_valence_model, rate_windows
from vmm_cli.spelling import spelling_of
from vmm_cli.training.annotations import read_table
from vmm_cli.training.dataset import SPLIT_NAMES
from vmm_cli.training.encoding import limit_s, video_of
from vmm_cli.training.rows import Row, read_rows
from vmm_cli.training.samples import (
    NO_DURATIONS,
    DataSet,
    Problem,
    Sample,
    left_out_of,
    length_s,
    with_segments,
)
from vmm_cli.training.scoring import (
    DEFAULT_THRESHOLD,
    Judged,
    actions_judged,
    labels_judged,
    ratings_judged,
)

SCHEMA = "vmm.evaluate/1"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a model said of labelled samples.

    Attributes:
        judged: those that could be judged.
        failed: by name, why others could not be judged.
        left_out: what was no sample to begin with, such as a row whose file is missing.
        document: the metrics, as JSON types.
    """

    judged: Judged
    failed: Mapping[str, str]
    left_out: Sequence[Problem]
    document: dict[str, Any]


def evaluate(
    bundle: Bundle,
    data: DataSet,
    *,
    split: str | None,
    jobs: int,
    use_store: bool,
    keep_features: bool = False,
    max_pixels: int,
    durations: Mapping[Path, float | None] = NO_DURATIONS,
    on_progress: Callable[[Standing], None] = lambda standing: None,
) -> Evaluation:
    """Judge every sample, or those of one split, and compare with its labels, actions or ratings.

    `split` is spelt as a manifest may spell it, such as "validation". `keep_features`: whether the
    store may hold what is of faces and voices, too. `durations`: of files, in seconds, as far as
    they are known: progress goes by them.

    Raises:
        DataError: the split has no samples, the data set has labels that the model does not know
            (samples of such emotions beside others fail alone), or no sample can be judged.
        ModelError: the model cannot be run.
    """
    if split is not None:
        split = SPLIT_NAMES.get(split.strip().lower(), split)
    samples = [s for s in data.samples if split is None or s.split == split]
    if not samples:
        splits = sorted({sample.split for sample in data.samples if sample.split})
        there = f"it has {', '.join(splits)}" if splits else "it has no splits"
        raise DataError(f"{data.source}: has no samples in the split {split!r}; {there}")
    if data.rated:
        check_valence_model(bundle)
    samples = [_spelt_as(bundle.labels, sample) for sample in samples]
    _check_labels(bundle, data, samples)
    known = [sample for sample in samples if _knows(bundle, sample)]
    multi_label = bool(bundle.network.get("multi_label"))
    if (
        data.task == "classes"
        and not multi_label
        and any(len(sample.labels) > 1 for sample in samples)
    ):
        raise DataError(f"{data.source}: has several labels a sample, model {bundle.name!r} one")
    if data.timed:  # says now, not for each sample, what is wrong with the model
        check_segment_model(bundle)
    elif classify_windows.is_for(bundle):
        plan_of(bundle)
        check(bundle)
    judge: Callable[..., Any] = find_in_sample if data.timed else judge_sample
    if data.rated:
        judge = partial(rate_sample, keep_features)
    results = gather(
        judge,
        [(bundle, sample, use_store, max_pixels) for sample in known],
        [limit_s(sample) for sample in known],
        jobs=jobs,
        lengths_s=[length_s(sample, durations) for sample in known],
        on_progress=on_progress,
    )
    for result in results:
        if isinstance(result, InputError) and result.code == ModelError.code:
            raise ModelError(result.message)  # it is the same for every sample
    kept = [
        (sample, result)
        for sample, result in zip(known, results, strict=True)
        if not isinstance(result, InputError)
    ]
    failed = {
        sample.name: f"unknown_label: model {bundle.name!r} does not know {sample.labels[0]!r}"
        for sample in samples
        if not _knows(bundle, sample)
    }
    failed |= {
        sample.name: f"{result.code}: {result.message}"
        for sample, result in zip(known, results, strict=True)
        if isinstance(result, InputError)
    }
    if not kept:
        raise DataError(f"{data.source}: no sample could be judged: {next(iter(failed.values()))}")
    left_out = samples_left_out(data, split)
    judged = _judged(bundle, data, [sample for sample, _ in kept], [said for _, said in kept])
    document = {
        "schema": SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version},
        "data": str(data.source),
        "n": len(judged.samples),
        "failed": len(samples) - len(kept) + sum(problem.rows for problem in left_out),
        "split": split or "all",
        "metrics": judged.metrics,
    }
    return Evaluation(judged, failed, left_out, document)


def _judged(
    bundle: Bundle, data: DataSet, samples: Sequence[Sample], said: Sequence[Any]
) -> Judged:
    """Compare what `find_in_sample`, `rate_sample` or `judge_sample` gave."""
    if data.timed:
        return actions_judged(
            bundle.labels,
            samples,
            [detections for detections, _ in said],
            [seconds for _, seconds in said],
            has_groups=data.has_groups,
            threshold=bundle.thresholds.get("score", DEFAULT_THRESHOLD),
        )
    if data.rated:
        return ratings_judged(bundle.labels, samples, said, has_groups=data.has_groups)
    return labels_judged(
        bundle.labels,
        samples,
        said,
        multi_label=bool(bundle.network.get("multi_label")),
        has_groups=data.has_groups,
    )


def samples_left_out(data: DataSet, split: str | None) -> list[Problem]:
    """Return the problems for which a sample was left out, one each.

    Those of one split, and those of which the split cannot be told.
    """
    found = left_out_of(data)
    if split is None or not found:
        return found
    if data.source.is_dir():
        return [p for p in found if SPLIT_NAMES.get(p.where.split("/")[0].strip().lower()) == split]
    named = _named_splits(data, {problem.where for problem in found})
    # A row that cannot be read, or has no split that there is, may have been meant for this one.
    return [
        p
        for p in found
        if p.where not in named
        or any(SPLIT_NAMES.get(name, split) == split for name in named[p.where])
    ]


def _named_splits(data: DataSet, wanted: Set[str]) -> dict[str, set[str]]:
    """Return which splits some rows name, lower case; those of a timed video in any of its rows.

    wanted: the rows, and videos by their names.
    """
    if not data.timed:
        rows = read_rows(data.source, ("path",)).rows
        return {row.where: _split_names(row) for row in rows if row.where in wanted}
    videos: defaultdict[str, set[str]] = defaultdict(set)
    video_of: dict[str, str] = {}
    for row in read_table(data.source).rows:
        videos[_video_name(row)] |= _split_names(row)
        if row.where in wanted:
            video_of[row.where] = _video_name(row)
    return {where: videos[name] for where, name in video_of.items()} | videos


def _video_name(row: Row) -> str:
    return str(row.cells.get("path", "")).strip()


def _split_names(row: Row) -> set[str]:
    return {str(row.cells["split"]).strip().lower()} if "split" in row.cells else set()


def _knows(bundle: Bundle, sample: Sample) -> bool:
    """Tell whether a model knows a sample's labels; one that tells none need not."""
    return not bundle.labels or set(sample.labels) <= set(bundle.labels)


def _spelt_as(labels: Sequence[str], sample: Sample) -> Sample:
    """Return a sample with its labels as a model has them, which may have their accents apart."""
    spelt = spelling_of(labels)
    if all(spelt(label) == label for label in sample.labels):
        return sample
    if sample.segments is not None:
        segments = (replace(s, label=spelt(s.label)) for s in sample.segments)
        return with_segments(sample, segments)
    return replace(sample, labels=tuple(sorted({spelt(x) for x in sample.labels})))


def _check_labels(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    unknown = sorted({label for s in samples for label in s.labels} - set(bundle.labels))
    if data.rated and (not bundle.labels or any(_knows(bundle, s) for s in samples)):
        unknown = []  # it tells no emotion, or some of these: the others can be measured alone
    if unknown:
        raise DataError(
            f"{data.source}: model {bundle.name!r} does not know the labels "
            f"{', '.join(map(repr, unknown[:5]))}{', ...' if len(unknown) > 5 else ''}; "
            f"`vmm models show {bundle.folder}` lists those it knows"
        )
    if data.rated:
        tells = bundle.network.get("valence_from") != NOTHING
        is_rated = any(sample.valence is not None for sample in samples)
        if not (tells and is_rated) and not any(s.labels for s in samples if bundle.labels):
            told = "emotion" if bundle.labels else "valence"
            raise DataError(
                f"{data.source}: no row has {'an' if bundle.labels else 'a'} {told}, which is all "
                f"that model {bundle.name!r} tells"
            )


def find_in_sample(
    bundle: Bundle, sample: Sample, use_store: bool, max_pixels: int
) -> tuple[list[Detection], float]:
    """Return the actions in one sample, of any score, and how many seconds were looked at.

    What a worker does.

    Raises:
        InputError: the file cannot be read, or has nothing the model looks at.
    """
    video = video_of(sample, max_pixels)
    seen = run_steps(bundle, video, None, use_store=use_store, text=sample.text)
    classify_windows.require_streams(bundle, seen.streams)
    found = find_segments(bundle, video, [seen])
    return found.detections, float(video.until_s - video.start)


def rate_sample(
    keep_features: bool, bundle: Bundle, sample: Sample, use_store: bool, max_pixels: int
) -> np.ndarray:
    """Return one sample's valence and the probabilities of a model's emotions: float64 [1 + E].

    What a worker does.

    Raises:
        InputError: the file cannot be read, or has nothing the model looks at.
    """
    rated = rate_windows(
        bundle,
        video_of(sample, max_pixels),
        text=sample.text,
        use_store=use_store,
        keep_features=keep_features,
    )
    there = frozenset(stream for stream, share in rated.streams.items() if share.any())
    classify_windows.require_streams(bundle, there)
    return rated.mean


def judge_sample(bundle: Bundle, sample: Sample, use_store: bool, max_pixels: int) -> np.ndarray:
    """Return the probabilities of a model's labels for one sample: float64 [C].

    What a worker does.

    Raises:
        InputError: the file cannot be read, or has nothing the model looks at.
    """
    video = video_of(sample, max_pixels)
    input = Input(sample.path, sample.name, Path(sample.name).name)
    if classify_windows.is_for(bundle):
        wanted = classify_windows.windows_request(
            bundle, start=video.start, end=video.end, use_store=use_store, max_pixels=max_pixels
        )
        scores = classify_windows.run(wanted, input, None, text=sample.text)
        classify_windows.require_streams(bundle, scores.streams)
        mean: np.ndarray = scores.chances.mean(axis=0)
        return mean
    request = classify.classify_request(
        bundle,
        start=video.start,
        end=video.end,
        device="cpu",
        use_store=use_store,
        max_pixels=max_pixels,
        top_k=len(bundle.labels),
    )
    features, end_s = classify.joined(request, input, [classify.run(request, input, None)])
    shown = classify.classification(request, features, end_s)
    by_label = {label.label: label.score for label in shown.labels}
    return np.array([by_label[label] for label in bundle.labels])
