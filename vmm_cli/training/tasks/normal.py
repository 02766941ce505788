"""The task `normal`: what is usual, so that what is not can be found. It learns without labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vmm_cli.training.data.read_normal import NORMAL, is_unusual, read_normal
from vmm_cli.training.data.samples import DataSet, Sample, group_of
from vmm_cli.training.recipe import Recipe
from vmm_cli.training.tasks.task import Cells, Files, Metrics, Predictions, Report, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vmm_cli.bundles import Bundle
    from vmm_cli.features.windows import Encoded
    from vmm_cli.training.encoding import Means
    from vmm_cli.training.fit_usual import Fitted, Seen
    from vmm_cli.training.learnt import Learnt
    from vmm_cli.training.metrics.unusual import Judged


class Steps(NamedTuple):
    """How surprising a sample is.

    Attributes:
        surprise: float64 [T]; there: bool [T], at which steps there is anything to see.
        times_s: float64 [T]; step_s: how far they are apart.
        level: from which surprise on something is told.
    """

    surprise: np.ndarray
    there: np.ndarray
    times_s: np.ndarray
    step_s: float
    level: float


# --- learning and predicting --------------------------------------------------------------------


def _learn(data: DataSet, encoded: Sequence[Encoded], recipe: Recipe, seed: int) -> Learnt:
    from vmm_cli.analysis.unusual import alarms, level_for, score_of
    from vmm_cli.features.catalogue import entry
    from vmm_cli.inference.usual_model import described, tensors_of
    from vmm_cli.tasks import UNUSUAL
    from vmm_cli.training.fit_usual import Wanted, fit
    from vmm_cli.training.learnt import Learnt

    chosen = recipe.usual
    wanted = Wanted(
        {name: (s.front_end, entry(s.encoder).grid) for name, s in recipe.streams.items()},
        nearest=chosen.nearest,
        components=chosen.components,
        bank=chosen.bank,
        smoothing=max(1, round(chosen.smoothing_s * recipe.rate_hz)) | 1,
        rate_hz=recipe.rate_hz,
        seed=seed,
    )
    pairs = zip(data.samples, encoded, strict=True)
    fitted = fit([_seen(s, one) for s, one in pairs if s.split == "train"], wanted)
    asked = chosen.false_alarms_per_hour
    # A share of time is one of spans over which scores are averaged.
    span_s = wanted.smoothing / recipe.rate_hz
    level = level_for(fitted.held_out, recipe.rate_hz, alarms_per_hour=asked, span_s=span_s)
    thresholds = {
        "score": float(score_of(level)),
        "false_alarms_per_hour": asked,
        **_left_out(fitted, alarms(fitted.held_out, level), recipe.rate_hz),
    }
    return Learnt(
        network=None,
        about=described(fitted.usual, recipe.rate_hz, recipe.window_s),
        labels=(UNUSUAL,),
        history=(),
        best_epoch=0,
        recipe=recipe,
        tensors=tensors_of(fitted.usual),
        thresholds=thresholds,
    )


def _left_out(fitted: Fitted, alarms: int, rate_hz: float) -> dict[str, float]:
    """Return by what a threshold was chosen."""
    return {
        "left_out_hours": sum(map(len, fitted.held_out)) / rate_hz / 3600,
        "left_out_parts": fitted.parts,
        "left_out_stretches": float(fitted.stretches),
        "left_out_alarms": alarms,
    }


def _seen(sample: Sample, encoded: Encoded) -> Seen:
    from vmm_cli.training.fit_usual import Seen

    (whole,) = encoded.windows
    usual = ~_unusual_steps(sample, whole.times)
    return Seen(whole.values, whole.masks, usual, group_of(sample))


def _unusual_steps(sample: Sample, times: np.ndarray) -> np.ndarray:
    """Return at which steps something unusual happens: bool [T]."""
    import numpy as np

    if is_unusual(sample):
        return np.ones(len(times), bool)
    found = np.zeros(len(times), bool)
    for one in sample.segments or ():
        found |= (times >= one.start_s) & (times < one.end_s)
    return found


def _predict(learnt: Learnt, encoded: Sequence[Encoded], device: torch.device) -> list[Steps]:
    import numpy as np

    from vmm_cli.analysis.unusual import surprise_of
    from vmm_cli.inference.usual import raw_scores, surprises
    from vmm_cli.inference.usual_model import PREFIX, usual_from

    assert learnt.tensors is not None and learnt.thresholds is not None  # see `_learn`
    tensors = {name.removeprefix(PREFIX): one for name, one in learnt.tensors.items()}
    usual = usual_from(learnt.about, tensors)
    level = surprise_of(learnt.thresholds["score"])
    found = []
    for one in encoded:
        pieces = [
            {s.name: raw_scores(s, w.values[s.name], w.masks[s.name])[0] for s in usual.streams}
            for w in one.windows
        ]
        raw = {s.name: np.concatenate([piece[s.name] for piece in pieces]) for s in usual.streams}
        _, surprise = surprises(usual, raw)
        there = np.isfinite(np.stack(list(raw.values()))).any(axis=0)
        times = np.concatenate([window.times for window in one.windows])
        found.append(Steps(surprise, there, times, 1 / float(learnt.about["rate_hz"]), level))
    return found


def _check(bundle: Bundle, data: DataSet, samples: Sequence[Sample]) -> None:
    from vmm_cli.inference.usual_model import check_usual

    check_usual(bundle)


def _predict_file(bundle: Bundle, sample: Sample, means: Means) -> Steps:
    from vmm_cli.analysis.unusual import surprise_of
    from vmm_cli.inference import classify_windows
    from vmm_cli.inference.unusual_steps import compare, surprise_of_parts
    from vmm_cli.training.encoding import video_of

    video = video_of(sample, means.max_pixels)
    compared = compare(bundle, video, None, use_store=means.use_store, text=sample.text)
    classify_windows.require_streams(bundle, compared.streams)
    found = surprise_of_parts(bundle, video, [compared])
    level = surprise_of(bundle.thresholds.get("score", 1.0))
    return Steps(found.whole, found.there, found.times_s, found.step_s, level)


# --- how good that is ---------------------------------------------------------------------------


def _score(predictions: Predictions, bundle: Bundle | None) -> dict[str, Any]:
    """Compare what is told with what is known to be unusual.

    Each model's own threshold counts; a bundle says how that was chosen.
    """
    from vmm_cli.training.metrics.unusual import score_unusual

    pairs = zip(predictions.samples, predictions.values, strict=True)
    step_s = predictions.values[0].step_s if predictions.values else 1.0
    metrics = score_unusual([_judged(sample, found) for sample, found in pairs], step_s)
    return {**metrics, "threshold": {} if bundle is None else dict(bundle.thresholds)}


def _judged(sample: Sample, found: Steps) -> Judged:
    import numpy as np

    from vmm_cli.training.metrics.unusual import Judged

    truth = [(0, len(found.times_s))] if is_unusual(sample) else []
    for one in sample.segments or ():
        span = np.searchsorted(found.times_s, [one.start_s, one.end_s]).tolist()
        # What lies between two steps belongs to the one before.
        first = max(0, min(span[0], len(found.times_s) - 1))
        truth.append((first, max(span[1], first + 1)))
    return Judged(found.surprise, found.there, truth, found.level)


def _headline(metrics: Metrics) -> dict[str, float]:
    from vmm_cli.training.metrics.unusual import figures

    return figures(metrics) or {"false_alarms_per_hour": float("nan")}


def _rows(metrics: Metrics) -> Iterator[tuple[str, str]]:
    for name, area in metrics["auc"].items():
        yield f"AUC by {name}", "-" if area is None else f"{area:.3f}"
    found = metrics["events"]
    if found["n"]:
        yield "unusual events found", f"{found['found']} of {found['n']}"
    yield "false alarms", f"{metrics['false_alarms']} in {metrics['usual_hours']:.2f} h"
    if metrics["false_alarms_per_hour"] is not None:
        yield "false alarms an hour", f"{metrics['false_alarms_per_hour']:.1f}"
    if (score := metrics["threshold"].get("score")) is not None:
        yield "told from a score of", f"{score:.5f}"


def _remark(metrics: Metrics) -> str:
    found, chosen = metrics["events"], metrics["threshold"]
    said = ""
    if found["n"]:
        said = f". Of {found['n']} unusual events {found['found']} were found"
    if "left_out_hours" not in chosen:
        return said
    asked, hours = chosen["false_alarms_per_hour"], chosen["left_out_hours"]
    if chosen["left_out_stretches"]:
        how = (
            "There is one video, or one group of them: nothing could be held out but stretches of "
            f"it in turn ({hours:.2f} h), which are more alike than other videos are"
        )
    else:
        parts = chosen["left_out_parts"]
        how = f"In {parts:.0f} parts videos were left out in turn ({hours:.2f} h)"
    short = (
        f", too short to see {asked:g} an hour, which is why the threshold goes by how rare the "
        "highest scores became"
        if asked * hours < 1
        else ""
    )
    return (
        f"{said}. {how}: from a score of {chosen['score']:.5f} on, the threshold for {asked:g} "
        f"false alarms an hour, there were {chosen['left_out_alarms']:.0f}{short}"
    )


def _made_of(recipe: Recipe) -> str:
    usual = recipe.usual
    return (
        f"{recipe.rate_hz:g} steps a second, each compared with usual ones: with the "
        f"{usual.nearest} nearest of at most {usual.bank} among {usual.components} components, or, "
        "where a stream has a value for each place of the picture, place by place; scores are "
        f"averaged over {usual.smoothing_s:g} s"
    )


def _counts(labels: Sequence[str], samples: Sequence[Sample]) -> dict[str, int]:
    return {"what is usual": sum(not is_unusual(sample) for sample in samples)}


def _tables(predictions: Predictions) -> dict[str, list[Cells]]:
    """Return what is told of each video, and how unusual each is at its height."""
    from vmm_cli.analysis.unusual import events, score_of

    told: list[Cells] = [["path", "start", "end", "score"]]
    videos: list[Cells] = [["path", "unusual", "surprise", "score", "told"]]
    for sample, found in zip(predictions.samples, predictions.values, strict=True):
        spans = list(events(found.surprise, found.level))
        for first, last in spans:
            times = (found.times_s[first], found.times_s[last - 1] + found.step_s)
            score = float(score_of(found.surprise[first:last].max()))
            told.append([sample.name, *(f"{time:.3f}" for time in times), f"{score:.6f}"])
        highest = found.surprise.max()
        cells = (f"{highest:.4f}", f"{float(score_of(highest)):.6f}", len(spans))
        videos.append([sample.name, int(bool(sample.labels)), *cells])
    return {"unusual.csv": told, "videos.csv": videos}


TASK = Task(
    kind=NORMAL,
    heads=("normal",),
    read=read_normal,
    network=None,
    objective=None,
    learn=_learn,
    predict=_predict,
    check=_check,
    predict_file=_predict_file,
    score=_score,
    windows=False,
    inspected=True,
    report=Report(
        headline=_headline,
        rows=_rows,
        remark=_remark,
        says=lambda data, learnt: "It says when a video is not as those that it learnt from.",
        limits="What is unusual need not matter, and what matters need not be unusual. It says "
        "that something is not as it was, and not what it is.",
        counts=_counts,
        one_figure=False,
        figures={
            "auc_by_frame": "AUC by frame",
            "auc_by_event": "AUC by event",
            "auc_by_clip": "AUC by clip",
            "false_alarms_per_hour": "false alarms an hour",
        },
        sample="video",
        made_of=_made_of,
    ),
    files=Files(names=("unusual.csv", "videos.csv"), tables=_tables),
)
